"""The values of task options, checked one by one, with errors that name the option.

Owns what each option may hold; which options there are is in :mod:`amqtask.tasks.options`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from amqtask.durations import parse_duration
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.tasks.limits import SCOPES, Limit, Rate, parse_rate
from amqtask.topology.declarations import RetryPolicy

MAX_PRIORITY: Final = 9


def refuse_unknown(given: Iterable[str], known: frozenset[str], what: str) -> None:
    """Raise TypeError for names that aren't known."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"
            raise TypeError(f"unknown {what} {name!r}{hint}")


def check_priority(priority: object) -> int:
    """Check a message priority.

    Raises:
        TypeError: no whole number.
        ConfigError: not 0..9.
    """
    number = whole_priority(priority)
    if not 0 <= number <= MAX_PRIORITY:
        raise ConfigError(f"priority={priority}: it must be 0 to 9, and 9 goes first")
    return number


def whole_priority(priority: object) -> int:
    """A priority that may be beyond amqtask's own range.

    Raises:
        TypeError: no whole number.
    """
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"priority must be a whole number from 0 to 9, not {priority!r}")
    return priority


def _priority(_name: str, value: object) -> int:
    return check_priority(value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or (not value and name not in ("exchange", "routing_key")):
        raise TypeError(f"task option {name} must be a text, not {value!r}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"task option {name} must be True or False, not {value!r}")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"task option {name} must be a whole number, not {value!r}")
    if value < 0:
        raise ConfigError(f"task option {name}={value}: it must not be negative; None means no limit")
    return value


def _seconds(name: str, value: Any) -> float:
    try:
        return parse_duration(value).total_seconds()
    except ConfigError as error:
        raise ConfigError(f"task option {name}: {error}") from None


def _limit_seconds(name: str, value: Any) -> float:
    seconds = _seconds(name, value)
    if not seconds:
        raise ConfigError(f"task option {name}={value!r}: it must be more than 0; None means no limit")
    return seconds


def check_time_limits(hard: object, soft: object, what: str = "task options") -> tuple[float | None, float | None]:
    """Check a hard and a soft time limit, each in seconds (or a duration) or None.

    Raises:
        ConfigError: one is no duration above 0, or the soft one is longer than the hard one.
    """
    seconds = tuple(
        None if value is None else _limit_seconds(name, value)
        for name, value in (("time_limit", hard), ("soft_time_limit", soft))
    )
    if seconds[0] is not None and seconds[1] is not None and seconds[1] > seconds[0]:
        raise ConfigError(
            f"{what}: soft_time_limit={soft} is longer than time_limit={hard}, which would stop the task before"
        )
    return seconds[0], seconds[1]


def _rate(name: str, value: Any) -> Rate:
    try:
        return parse_rate(value)
    except ConfigError as error:
        raise ConfigError(f"task option {name}: {error}") from None


def _scope(name: str, value: Any) -> str:
    if value not in SCOPES:
        raise ConfigError(f"task option {name} must be one of {', '.join(SCOPES)}, not {value!r}")
    return str(value)


def _limit(name: str, value: Any) -> Limit:
    if isinstance(value, Limit):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"task option {name} must be a whole number or a Limit, not {value!r}")
    return Limit(value)


def _backoff(name: str, value: Any) -> float | None:
    if value is True:
        return 1.0
    return None if value is False else _seconds(name, value)


def _expires(name: str, value: Any) -> float | datetime:
    return value if isinstance(value, datetime) else _seconds(name, value)


def _errors(name: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = (value,) if isinstance(value, type) else tuple(value) if isinstance(value, Sequence) else (value,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(f"task option {name} must hold exception classes, not {kind!r}")
    return kinds


def _retry(name: str, value: Any) -> bool | RetryPolicy:
    if isinstance(value, bool | RetryPolicy):
        return value
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"task option {name} must be True, False, a list of delays or a RetryPolicy, not {value!r}")
    try:
        delays = tuple(parse_duration(delay) for delay in value)
    except ConfigError as error:
        raise ConfigError(f"task option {name}: {error}") from None
    return RetryPolicy(delays=delays, max_retries=len(delays))


def _retry_kwargs(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"task option {name} must be a mapping, not {value!r}")
    refuse_unknown(value, frozenset({"countdown", "max_retries"}), "key of retry_kwargs")
    checked: dict[str, Any] = {}
    if "countdown" in value:
        checked["countdown"] = _seconds("retry_kwargs: countdown", value["countdown"])
    if "max_retries" in value:
        limit = value["max_retries"]
        checked["max_retries"] = None if limit is None else _count("retry_kwargs: max_retries", limit)
    return checked


CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "name": _text,
    "queue": _text,
    "exchange": _text,
    "routing_key": _text,
    "priority": _priority,
    "retry": _retry,
    "max_retries": _count,
    "default_retry_delay": _seconds,
    "autoretry_for": _errors,
    "dont_autoretry_for": _errors,
    "retry_kwargs": _retry_kwargs,
    "retry_backoff": _backoff,
    "retry_backoff_max": _seconds,
    "retry_jitter": _flag,
    "acks_late": _flag,
    "expires": _expires,
    "serializer": _text,
    "compression": _text,
    "ignore_result": _flag,
    "time_limit": _limit_seconds,
    "soft_time_limit": _limit_seconds,
    "rate_limit": _rate,
    "scope": _scope,
    "max_concurrency": _limit,
}
"""Option name -> check, called with name and value; raises TypeError or ConfigError."""
