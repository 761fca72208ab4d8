"""The properties of a received message for another sending: its next attempt, its dead letter, its replay.

Owns what of them survives, and makes sendable what could be received only: other clients write names and texts that
are no UTF-8, and times that no client of ours can send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.wire.ids import new_id
from amqtask.wire.message import PERSISTENT, Properties

if TYPE_CHECKING:
    from amqtask.wire.message import PropertiesLike, Table

_LATIN = 127
"""Bytes that fit AMQP's short strings whatever they are, once they have become UTF-8."""

_LAST_TIME = 2**63
"""Timestamps from here on are read, but can't be sent."""

_DEEPEST = 100
"""Levels of tables and lists that are kept; our encoder has a limit above that."""


def sent_again(old: PropertiesLike, headers: Table) -> Properties:
    """The received properties, made durable; ``expiration`` and ``user_id`` belonged to the first sending.

    The message id is new: it is what tells this message from the one it is made from, so that a worker that remembers
    the old one does not take this for a copy.

    Args:
        old: as received.
        headers: those that are to be sent; names that are no UTF-8 become texts, what is nested absurdly deep is cut.
    """
    timestamp = getattr(old, "timestamp", None)
    return Properties(
        content_type=_text(old.content_type),
        content_encoding=_text(old.content_encoding),
        headers=_sendable(dict(headers)),
        delivery_mode=PERSISTENT,
        priority=old.priority,
        correlation_id=_text(old.correlation_id),
        reply_to=_text(old.reply_to),
        message_id=new_id(),
        timestamp=timestamp if timestamp is None or timestamp < _LAST_TIME else None,
        type=_text(getattr(old, "type", None)),
        app_id=_text(getattr(old, "app_id", None)),
    )


def _sendable(value: Any, level: int = 0) -> Any:
    """The same with names that are texts; the reader leaves those that are no UTF-8 as bytes."""
    if not isinstance(value, dict | list):
        return value
    if level > _DEEPEST:
        return None
    if isinstance(value, list):
        return [_sendable(inner, level + 1) for inner in value]
    return {_text(key): _sendable(inner, level + 1) for key, inner in value.items()}


def _text(value: Any) -> Any:
    return value.decode("latin-1")[:_LATIN] if isinstance(value, bytes) else value
