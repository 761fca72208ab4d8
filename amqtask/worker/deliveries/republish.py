"""Messages made from a delivery: the next attempt, the dead letter, the same again.

Owns which headers survive and the ``x-amqtask-*`` headers of a dead letter. What belongs to one stay in a queue
(x-death, CC, delivery counts) is left behind: kept, it makes RabbitMQ 3.10 lose the message on its second pass through
a delay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.execution.next_attempt import changed, first_failure
from amqtask.wire.again import sent_again
from amqtask.wire.dead_headers import (
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
from amqtask.wire.message import Outgoing, strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.execution.job import Error
    from amqtask.worker.deliveries.delivery import Delivery

_ESSENTIAL = ("task", "id", "retries", "compression", "lang")

_SHORT = 512
"""Characters that are kept of each header of a slim dead letter."""

_ATTEMPTS_MAX = 2**31
"""Retries that a header may claim; one more has to fit AMQP's integers."""


def lost_count(delivery: Delivery) -> int:
    """How many workers or children died with this message, as its own header says."""
    count = (delivery.properties.headers or {}).get(LOST, 0)
    return max(count, 0) if isinstance(count, int) else 0


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
    headers = changed(strip_broker_headers(delivery.properties.headers), changes or {})
    body = delivery.body if body is None else body
    return Outgoing(exchange, routing_key, sent_again(delivery.properties, headers), body)


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
    now, first = clock.utcnow().isoformat(timespec="milliseconds"), first_failure(delivery.properties.headers or {})
    headers = strip_broker_headers(delivery.properties.headers)
    if slim:
        headers = {key: _short(headers[key]) for key in _ESSENTIAL if key in headers}
    kind, message, traceback = error or ("", text, "")
    headers[REASON] = reason
    headers[MESSAGE] = message[:200] if slim else message
    headers[WORKER] = worker
    headers[ATTEMPTS] = min(delivery.retries or 0, _ATTEMPTS_MAX) + 1
    headers[FIRST_TIME] = _short(first)
    headers[LAST_TIME] = now
    headers[QUEUE] = delivery.queue
    if kind:
        headers[EXCEPTION] = kind
    if traceback and not slim:
        headers[TRACEBACK] = traceback
    return Outgoing("", dead_queue, sent_again(delivery.properties, headers), delivery.body)


def _short(value: Any) -> Any:
    """A header that takes little room, whatever another client has put there."""
    return value if isinstance(value, int) else str(value)[:_SHORT]
