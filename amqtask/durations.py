"""Durations as people write them ("250ms", "1h30m") to timedelta, and to AMQP's milliseconds.

Owns the notation; knows nothing of what a duration is used for.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

from amqtask.errors import ConfigError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(value: float | str | timedelta) -> timedelta:
    """Read a duration.

    Args:
        value: a timedelta, a number of seconds, or a text such as ``250ms``, ``5s``, ``1h30m``, ``14d``.

    Raises:
        ConfigError: for anything else, negative and non-finite numbers included.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _WHOLE.fullmatch(text := value.replace(" ", "")):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise ConfigError(f"{value!r} is not a duration; write for example 250ms, 5s, 1h30m or 14d")
    if not math.isfinite(seconds) or seconds < 0:
        raise ConfigError(f"{value!r} is not a duration: it must be finite and not negative")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ConfigError(f"{value!r} is too long for a duration") from None


def to_milliseconds(duration: timedelta) -> int:
    """Whole milliseconds, rounded up: a delay is never early."""
    return -(-duration // timedelta(milliseconds=1))


def format_duration(duration: timedelta) -> str:
    """The shortest notation that :func:`parse_duration` reads back as the same duration, to the millisecond."""
    left = to_milliseconds(duration)
    if left == 0:
        return "0s"
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
