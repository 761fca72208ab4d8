"""The options of ``@app.task(...)`` and of one call, checked by name and value.

Owns both lists of options and their error messages. What they mean is decided by the producer and the retry rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict

from amqtask.durations import parse_duration
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.topology.declarations import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PRIORITY: Final = 9
DEFAULT_MAX_RETRIES: Final = 3
DEFAULT_RETRY_DELAY: Final = 180.0
"""Seconds; both are Celery's."""

Seconds = float | timedelta
Errors = type[BaseException] | Sequence[type[BaseException]]


class Unset:
    """The type of :data:`UNSET`: an option that nobody gave, where None has a meaning of its own."""

    def __repr__(self) -> str:
        return "unset"


UNSET: Final = Unset()


class TaskOptionArguments(TypedDict, total=False):
    """What ``@app.task`` accepts beside ``bind``; see :class:`TaskOptions`."""

    name: str
    queue: str
    exchange: str
    routing_key: str
    priority: int
    retry: bool | RetryPolicy | Sequence[Seconds | str]
    max_retries: int | None
    default_retry_delay: Seconds
    autoretry_for: Errors
    dont_autoretry_for: Errors
    retry_kwargs: Mapping[str, Any]
    retry_backoff: bool | float
    retry_backoff_max: Seconds
    retry_jitter: bool
    acks_late: bool
    expires: Seconds | datetime
    serializer: str
    compression: str
    ignore_result: bool


class SendOptions(TypedDict, total=False):
    """What one call may say (``apply_async``, ``send_task``); each overrides the task's option.

    ``countdown`` in seconds; ``eta`` a datetime (naive: in the setting ``timezone``), seconds and timedeltas count
    from now for ``expires``; ``priority`` 0 to 9 with 9 first; ``queue`` or else ``exchange`` and ``routing_key``.
    """

    countdown: Seconds | None
    eta: datetime | None
    expires: Seconds | datetime | None
    priority: int | None
    queue: str | None
    exchange: str | None
    routing_key: str | None
    headers: Mapping[str, Any] | None
    task_id: str | None
    serializer: str | None
    compression: str | None
    ignore_result: bool | None
    reply_to: str | None


SEND_OPTIONS: Final = frozenset(SendOptions.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of one task, checked.

    Attributes:
        name: of the task; by default ``module.function``.
        bind: the function gets the task as its first argument.
        queue, exchange, routing_key, priority: where its messages go; before any route.
        retry: delays (or a policy) for every exception; False: the queue's policy does not apply; True: it does.
        max_retries: retries after the first attempt; None is no limit.
        default_retry_delay: seconds.
        autoretry_for, dont_autoretry_for: exceptions that are, or never are, retried without being asked to.
        retry_kwargs: ``countdown`` and ``max_retries`` for ``autoretry_for``.
        retry_backoff: exponential delays; a number is the first one in seconds, True is 1.
        retry_backoff_max: seconds.
        retry_jitter: draw each backoff delay at random from 0 to its value.
        acks_late: None leaves it to the setting.
        expires: latest start; seconds or timedelta count from the call.
        serializer, compression, ignore_result: None leaves it to the settings.
    """

    name: str | None = None
    bind: bool = False
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    retry: bool | RetryPolicy | None = None
    max_retries: int | Unset | None = UNSET
    default_retry_delay: float | None = None
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = field(default_factory=dict)
    retry_backoff: float | None = None
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    acks_late: bool | None = None
    expires: float | datetime | None = None
    serializer: str | None = None
    compression: str | None = None
    ignore_result: bool | None = None


_NAMES = frozenset(item.name for item in fields(TaskOptions))


def task_options(bind: bool, given: Mapping[str, Any]) -> TaskOptions:
    """Check the options of ``@app.task``.

    Raises:
        TypeError: an unknown option, or a value of the wrong type; says what is meant, if it can be guessed.
        ConfigError: a value out of range, or options that contradict each other.
    """
    refuse_unknown(given, _NAMES, "task option")
    values: dict[str, Any] = {name: _CHECKS[name](name, value) for name, value in given.items() if value is not None}
    if "max_retries" in given and given["max_retries"] is None:
        values["max_retries"] = None
    options = TaskOptions(bind=bind, **values)
    check_destination(options.queue, options.exchange, options.routing_key)
    if options.retry is False and options.autoretry_for:
        raise ConfigError("retry=False contradicts autoretry_for: give one of them")
    return options


def refuse_unknown(given: Iterable[str], known: frozenset[str], what: str) -> None:
    """Raise TypeError for names that aren't known."""
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"
            raise TypeError(f"unknown {what} {name!r}{hint}")


def check_destination(queue: str | None, exchange: str | None, routing_key: str | None) -> None:
    """Refuse a queue beside an exchange or key: a message has one destination.

    Raises:
        ConfigError: both are given.
    """
    if queue is not None and (exchange is not None or routing_key is not None):
        raise ConfigError("give either queue, or exchange and routing_key: a message goes to one place")


def check_priority(priority: object) -> int:
    """Check a message priority.

    Raises:
        TypeError: no whole number.
        ConfigError: not 0..9.
    """
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise TypeError(f"priority must be a whole number from 0 to 9, not {priority!r}")
    if not 0 <= priority <= MAX_PRIORITY:
        raise ConfigError(f"priority={priority}: it must be 0 to 9, and 9 goes first")
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
        raise ConfigError(f"task option {name}={value}: it must not be negative; None is no limit")
    return value


def _seconds(name: str, value: Any) -> float:
    try:
        return parse_duration(value).total_seconds()
    except ConfigError as error:
        raise ConfigError(f"task option {name}: {error}") from None


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
    return dict(value)


_CHECKS: Final = {
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
}
