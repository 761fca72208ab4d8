"""How long a message has waited for a slot. Owns what is known of its sending and of the time it was due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.wire.header_values import moment
from amqtask.wire.ids import born

if TYPE_CHECKING:
    from amqtask.wire.message import PropertiesLike


def waited(properties: PropertiesLike, now: float) -> float | None:
    """Seconds in its queue, until now, of a message that starts.

    It counts from the sending, as the message id of our own messages tells to the millisecond, and of others the
    property ``timestamp``, where there is one; from the end of a delay, when the message had one. A clock that is
    behind the sender's makes it 0, not less.

    Args:
        properties: as received.
        now: seconds since the epoch.

    Returns:
        None when nothing is known, or when it comes before it is due.
    """
    since, headers = _sent(properties), properties.headers or {}
    if "eta" in headers or "x-death" in headers:
        due = _moment(headers.get("eta"))
        if due is not None and due > now:
            return None
        known = [time for time in (since, due, _expired(headers.get("x-death"))) if time is not None]
        since = max(known, default=None)
    return None if since is None else max(0.0, now - since)


def _sent(properties: PropertiesLike) -> float | None:
    sent = born(properties.message_id) if isinstance(properties.message_id, str) else None
    if sent is None:
        sent = getattr(properties, "timestamp", None)
    return float(sent) if isinstance(sent, int | float) else None


def _expired(deaths: Any) -> float | None:
    """When it left the last queue in which it waited, to the second: the broker writes the latest first."""
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return _moment(last.get("time")) if isinstance(last, dict) else None


def _moment(value: Any) -> float | None:
    """Seconds since the epoch; None for what makes no sense."""
    try:
        read = moment(value)
        return None if read is None else read.timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
