"""Header values to Python values and back. Owns what counts as a text, a time, a limit or a stamp.

Any client may have written what is read: anything that makes no sense raises ValueError, TypeError or OverflowError,
which the codec turns into a DecodeError.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil, isinf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# ---- reading


def text(headers: Mapping[str, Any], name: str) -> str | None:
    """A text, or None when there is none or an empty one."""
    value = headers.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise ValueError(f"{name} is {value!r:.100}, not text")


def count(value: Any) -> int:
    """How often something has happened; negative numbers count as never."""
    return max(int(value or 0), 0)


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    return None if value is None else int(value)


def flag(value: Any) -> bool | None:
    """True, False or not said."""
    return None if value is None else bool(value)


def moment(value: Any) -> datetime | None:
    """A point in time, aware; ISO 8601 without an offset is UTC, for Celery's workers too, whatever their zone."""
    if not value:
        return None
    if isinstance(value, datetime):
        read = value
    elif isinstance(value, str):
        read = datetime.fromisoformat(value)
    else:
        raise TypeError(f"{value!r:.100} is not a time")
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def limits(value: Any) -> tuple[float | None, float | None]:
    """``[hard, soft]`` in seconds, each or None."""
    if not value:
        return None, None
    hard, soft = value
    return _limit(hard), _limit(soft)


def _limit(value: Any) -> float | None:
    if value is None:
        return None
    seconds = float(value)
    if not seconds >= 0:
        raise ValueError(f"timelimit has {value!r:.100}, not a number of seconds")
    return seconds


def stamps(value: Any) -> dict[str, Any]:
    """Name -> value of each stamp."""
    if not value:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"stamps is {value!r:.100}, not a table")
    return value


def names(value: Any) -> tuple[str, ...]:
    """Names of stamps."""
    if not value:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"stamped_headers is {value!r:.100}, not a list of texts")
    return tuple(value)


# ---- writing


def plain_number(value: float | None) -> int | str | None:
    """Seconds for a header table, where floats get lost: whole seconds as integers, the rest as text."""
    return value if value is None else int(value) if float(value).is_integer() else str(value)


def whole_seconds(value: float | None) -> int | None:
    """Seconds for a Celery worker, which takes no text: rounded up, so that no limit becomes 0 (none at all)."""
    return None if value is None or isinf(value) else ceil(value)


def plain_stamps(value: Mapping[str, Any]) -> dict[str, Any]:
    """Stamps for a header table: several values as a list, and floats as integers or texts."""
    return {name: _plain_stamp(stamp) for name, stamp in value.items()}


def _plain_stamp(value: Any) -> Any:
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, set | frozenset):
        return sorted((_plain_stamp(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain_stamp(item) for item in value]
    return value
