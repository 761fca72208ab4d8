"""The options of ``@app.task(...)`` and of one call, checked by name and value.

Owns both lists of options and their error messages. What they mean is decided by the producer and the retry
rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict

from amqtask.errors import ConfigError
from amqtask.tasks.option_values import CHECKS, check_priority, check_time_limits, refuse_unknown

if TYPE_CHECKING:
    from amqtask.tasks.limits import Limit, Rate, Scope
    from amqtask.topology.declarations import RetryPolicy


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
    time_limit: Seconds | str
    soft_time_limit: Seconds | str
    rate_limit: str | float
    scope: Scope
    max_concurrency: int | Limit


class SendOptions(TypedDict, total=False):
    """What one call may say (``apply_async``, ``send_task``); each overrides the task's option.

    ``countdown`` in seconds; ``eta`` a datetime (naive: in the setting ``timezone``, with interop in UTC), seconds
    and timedeltas count from now for ``expires``; ``priority`` 0 to 9 with 9 first; ``queue`` or else ``exchange``
    and ``routing_key``; ``time_limit`` and ``soft_time_limit`` in seconds.
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
    shadow: str | None
    link: Any
    link_error: Any
    time_limit: Seconds | None
    soft_time_limit: Seconds | None


class CelerySendOptions(SendOptions, total=False):
    """What Celery's callers may say beside that: a place in a canvas, how the message is kept and shown."""

    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    delivery_mode: int | None
    argsrepr: str | None
    kwargsrepr: str | None


SEND_OPTIONS: Final = frozenset(SendOptions.__annotations__)
RETRY_OPTIONS: Final = SEND_OPTIONS - {"countdown", "eta", "reply_to", "task_id"}
CELERY_SEND_OPTIONS: Final = frozenset(CelerySendOptions.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of one task, checked.

    Attributes:
        name: of the task; by default ``module.function``.
        bind: the function gets the task as its first argument.
        queue, exchange, routing_key, priority: where its messages go; before any route.
        retry: delays (or a policy) for every exception; False: the queue's policy does not apply; True: it
            does.
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
        time_limit: seconds after which a running task is stopped; it fails with TimeLimitExceeded.
        soft_time_limit: seconds after which SoftTimeLimitExceeded is raised in it.
        rate_limit: how often it may start; None leaves it to the setting.
        scope: of the rate: of each worker, or of all workers together.
        max_concurrency: how many may run at once, over all workers together.
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
    time_limit: float | None = None
    soft_time_limit: float | None = None
    rate_limit: Rate | None = None
    scope: Scope = "worker"
    max_concurrency: Limit | None = None


_NAMES = frozenset(item.name for item in fields(TaskOptions))


def task_options(bind: bool, given: Mapping[str, Any]) -> TaskOptions:
    """Check the options of ``@app.task``.

    Raises:
        TypeError: an unknown option, or a value of the wrong type; says what is meant, if it can be guessed.
        ConfigError: a value out of range, or options that contradict each other.
    """
    refuse_unknown(given, _NAMES, "task option")
    values: dict[str, Any] = {name: CHECKS[name](name, value) for name, value in given.items() if value is not None}
    if "max_retries" in given and given["max_retries"] is None:
        values["max_retries"] = None
    options = TaskOptions(bind=bind, **values)
    check_destination(options.queue, options.exchange, options.routing_key)
    if options.retry is False and options.autoretry_for:
        raise ConfigError("retry=False contradicts autoretry_for: give one of them")
    check_time_limits(options.time_limit, options.soft_time_limit)
    if options.scope != "worker" and not options.rate_limit:
        raise ConfigError(f"scope={options.scope!r} says for whom rate_limit counts: give that too")
    return options


def check_destination(queue: str | None, exchange: str | None, routing_key: str | None) -> None:
    """Refuse a queue beside an exchange or key: a message has one destination.

    Raises:
        ConfigError: both are given.
    """
    if queue is not None and (exchange is not None or routing_key is not None):
        raise ConfigError("give either queue, or exchange and routing_key: a message goes to one place")


def check_retry_options(given: Mapping[str, Any]) -> None:
    """Check what ``self.retry()`` may say of the next attempt; the rest is checked when that is made.

    Raises:
        TypeError: an unknown option, or a priority that is no number.
        ConfigError: a value out of range, or options that contradict each other.
    """
    refuse_unknown(given, RETRY_OPTIONS, "option")
    if (priority := given.get("priority")) is not None:
        check_priority(priority)
    check_destination(given.get("queue"), given.get("exchange"), given.get("routing_key"))
