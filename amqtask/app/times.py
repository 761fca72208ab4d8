"""When a call may start: ``countdown``, ``eta`` and ``expires`` as moments in time.

Owns their reading. Naive datetimes are in the time zone that the caller says.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.durations import parse_duration, to_milliseconds
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from datetime import tzinfo

    from amqtask.tasks.options import Seconds

_LONGEST_EXPIRATION = 2**32 - 1
"""Milliseconds; RabbitMQ takes no longer message TTL. Later expiry is left to the worker, which reads the
header."""


def start(countdown: Seconds | None, eta: datetime | None, naive: tzinfo) -> tuple[datetime | None, timedelta]:
    """When a task may start.

    Args:
        countdown: from now; a number is seconds.
        eta: or else this moment.
        naive: zone of an ``eta`` without one.

    Returns:
        The moment, and how long that is from now; None and zero when it may start at once.

    Raises:
        ConfigError: both are given, or ``countdown`` is negative.
    """
    if countdown is not None and eta is not None:
        raise ConfigError("give either countdown or eta, not both")
    if countdown is not None:
        delay = _duration("countdown", countdown)
        return (_from_now("countdown", delay), delay) if delay else (None, delay)
    if eta is None:
        return None, timedelta(0)
    due = aware(eta, naive)
    return due, max(due - clock.utcnow(), timedelta(0))


def aware(eta: datetime, naive: tzinfo) -> datetime:
    """The same moment with a zone: ``naive`` where it has none.

    Raises:
        TypeError: it is no datetime.
    """
    if not isinstance(eta, datetime):
        raise TypeError(f"eta must be a datetime, not {eta!r}")
    return eta if eta.tzinfo is not None else eta.replace(tzinfo=naive)


def expiry(expires: Seconds | datetime | None, naive: tzinfo) -> datetime | None:
    """The moment after which a task is not started any more; None is never.

    Args:
        expires: a moment, or a time from now; a number is seconds.
        naive: zone of a moment without one.

    Raises:
        ConfigError: it is no time, or beyond the calendar.
    """
    if expires is None or isinstance(expires, datetime):
        return expires if expires is None or expires.tzinfo is not None else expires.replace(tzinfo=naive)
    return _from_now("expires", _duration("expires", expires))


def expiration(expires: datetime) -> str | None:
    """The AMQP property that lets the broker drop the message in time; None when that is too far away."""
    milliseconds = max(to_milliseconds(expires - clock.utcnow()), 0)
    return str(milliseconds) if milliseconds <= _LONGEST_EXPIRATION else None


def _from_now(name: str, delay: timedelta) -> datetime:
    try:
        return clock.utcnow() + delay
    except OverflowError:
        raise ConfigError(f"{name}: {delay.total_seconds():g} seconds from now are beyond the calendar") from None


def _duration(name: str, value: Seconds) -> timedelta:
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
