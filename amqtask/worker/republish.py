"""Messages made from a delivery: the next attempt, the dead letter, the same again.

Owns which properties and headers survive and the ``x-amqtask-*`` headers of a dead letter. What belongs to one stay
in a queue (x-death, CC, delivery counts) is left behind: kept, it makes RabbitMQ 3.10 lose the message on its
second pass through a delay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.execution.next_attempt import changed
from amqtask.wire.failure import (
    ATTEMPTS,
    EXCEPTION,
    FIRST_TIME,
    LAST_TIME,
    LOST,
    MESSAGE,
    QUEUE,
    REASON,
    TRACEBACK,
    WORKER,
)
from amqtask.wire.ids import new_id
from amqtask.wire.message import PERSISTENT, Outgoing, Properties, strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.execution.job import Error
    from amqtask.worker.delivery import Delivery

_ESSENTIAL = ("task", "id", "retries", "compression", "lang")

_SHORT = 512
"""Characters that are kept of each header of a slim dead letter."""

_LATIN = 127
"""Bytes that fit AMQP's short strings whatever they are, once they have become UTF-8."""

_ATTEMPTS_MAX = 2**31
"""Retries that a header may claim; one more has to fit AMQP's integers."""

_LAST_TIME = 2**63
"""Timestamps from here on are read, but can't be sent."""


def lost_count(delivery: Delivery) -> int:
    """How many workers or children died with this message, as its own header says."""
    count = (delivery.properties.headers or {}).get(LOST, 0)
    return count if isinstance(count, int) else 0


def again(
    delivery: Delivery,
    exchange: str,
    routing_key: str,
    changes: Mapping[str, Any] | None = None,
    body: bytes | None = None,
) -> Outgoing:
    """The same message for another stay in a queue.

    Args:
        delivery: the message as received.
        exchange: where to.
        routing_key: where to.
        changes: header changes; a value of None removes the header.
        body: a new body, or None for the received one.
    """
    headers = changed(_sendable(strip_broker_headers(delivery.properties.headers)), changes or {})
    return Outgoing(exchange, routing_key, _properties(delivery, headers), delivery.body if body is None else body)


def dead_letter(
    delivery: Delivery,
    dead_queue: str,
    reason: str,
    *,
    text: str,
    error: Error | None,
    worker: str,
    slim: bool = False,
) -> Outgoing:
    """The message for ``<queue>.dead``, with what is known of its end in the headers.

    Args:
        delivery: the message as received.
        dead_queue: name of the dead-letter queue.
        reason: one word, for example ``failed`` or ``expired``.
        text: the reason in words, used when there was no exception.
        error: exception type, message and traceback.
        worker: node name.
        slim: leave out the traceback and the sender's own headers, for messages whose headers are too large.
    """
    now = clock.utcnow().isoformat(timespec="milliseconds")
    headers = _sendable(strip_broker_headers(delivery.properties.headers))
    if slim:
        headers = {key: _short(headers[key]) for key in _ESSENTIAL if key in headers}
    kind, message, traceback = error or ("", text, "")
    headers[REASON] = reason
    headers[MESSAGE] = message[:200] if slim else message
    headers[WORKER] = worker
    headers[ATTEMPTS] = min(delivery.retries or 0, _ATTEMPTS_MAX) + 1
    headers.setdefault(FIRST_TIME, now)
    headers[LAST_TIME] = now
    headers[QUEUE] = delivery.queue
    if kind:
        headers[EXCEPTION] = kind
    if traceback and not slim:
        headers[TRACEBACK] = traceback
    return Outgoing("", dead_queue, _properties(delivery, headers), delivery.body)


def _short(value: Any) -> Any:
    """A header that takes little room, whatever a stranger has put there."""
    return value if isinstance(value, int) else str(value)[:_SHORT]


def _sendable(headers: dict[str, Any]) -> dict[str, Any]:
    """Headers whose names are texts; the reader leaves what is no UTF-8 as bytes."""
    return {_text(key): value for key, value in headers.items()}


def _text(value: Any) -> Any:
    return value.decode("latin-1")[:_LATIN] if isinstance(value, bytes) else value


def _properties(delivery: Delivery, headers: dict[str, Any]) -> Properties:
    """The received properties, made durable; ``expiration`` and ``user_id`` belonged to the first sending.

    The message id is new: it is what tells this message from the one it is made from (see recent.py).
    """
    old = delivery.properties
    timestamp = getattr(old, "timestamp", None)
    return Properties(
        content_type=_text(old.content_type),
        content_encoding=_text(old.content_encoding),
        headers=headers,
        delivery_mode=PERSISTENT,
        priority=old.priority,
        correlation_id=_text(old.correlation_id),
        reply_to=_text(old.reply_to),
        message_id=new_id(),
        timestamp=timestamp if timestamp is None or timestamp < _LAST_TIME else None,
        type=_text(getattr(old, "type", None)),
        app_id=_text(getattr(old, "app_id", None)),
    )
