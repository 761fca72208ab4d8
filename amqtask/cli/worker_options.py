"""Options of ``amqtask worker``, in groups. Owns their names, Celery's spellings included, and the settings they mean.

An option that only sets a setting is made by :func:`sets`: its value is checked as the setting's and never reaches the
command's function. What is left is about this process: queues, pool, name, log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amqtask import logs
from amqtask.cli.command import comma_separated
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Any], Any]

_CHOSEN = "amqtask.settings"
"""Where click's context keeps the settings that options have set."""


def read_level(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Callback of ``--loglevel``: any case; wrong ones are a usage error."""
    try:
        logs.level_number(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value.lower()


def read_seconds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of options that are a time: seconds, or a duration such as ``1m30s``."""
    if value is None:
        return None
    from amqtask.durations import parse_duration  # noqa: PLC0415 -- only when the option is used

    try:
        return parse_duration(_number(value)).total_seconds()
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _read_concurrency(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """``auto`` is what counts without the option: the CPUs this process may use."""
    if value is None or value == "auto":
        return None
    if value.isdecimal() and int(value) >= 1:
        return int(value)
    raise click.BadParameter(f"{value!r} is neither a number of 1 or more nor 'auto'")


def sets(name: str, *declarations: str, value: Any = None, help: str, **attributes: Any) -> Decorator:  # noqa: A002
    """An option that stands for a setting.

    Args:
        name: of the setting.
        declarations: the option's names.
        value: what a flag sets; None: the option takes a value.
        help: text of its help; the setting's name is added.
        attributes: further ones of :func:`click.option`.
    """

    def remember(context: click.Context, _parameter: click.Parameter, given: Any) -> None:
        if given in (None, False):
            return
        from amqtask.config.sources import check, check_text  # noqa: PLC0415 -- only when the option is used

        try:
            checked = check_text(name, given) if value is None else check(name, value)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None
        chosen_settings(context)[name] = checked

    flag: dict[str, Any] = {} if value is None else {"is_flag": True}
    return click.option(
        *declarations, expose_value=False, callback=remember, help=f"{help}  [setting: {name}]", **flag, **attributes
    )


def chosen_settings(context: click.Context) -> dict[str, Any]:
    """The settings that options of this command line have set."""
    chosen: dict[str, Any] = context.meta.setdefault(_CHOSEN, {})
    return chosen


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator; help lists them in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


LEVEL_OPTION = click.option(
    "-l", "--loglevel", "--log-level", "loglevel", default="info", show_default=True, metavar="LEVEL",
    callback=read_level, help="debug, info, warning, error or critical.",
)  # fmt: skip
FORMAT_OPTION = click.option(
    "--log-format", "logformat", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Lines of text, or one JSON object per line.",
)  # fmt: skip
TIMEOUT_OPTION = click.option(
    "--shutdown-timeout", metavar="SECONDS", callback=read_seconds,
    help="How long running tasks may go on after SIGTERM.  [setting: worker_shutdown_timeout]",
)  # fmt: skip
HEALTH_OPTION = sets(
    "worker_health", "--health", metavar="[HOST]:PORT", help="Answer /livez, /readyz and /startupz over HTTP."
)
METRICS_OPTION = sets(
    "worker_metrics", "--metrics", metavar="[HOST]:PORT", help="Serve /metrics to Prometheus; needs amqtask[metrics]."
)
LIMIT_OPTIONS = together(
    sets("task_time_limit", "--time-limit", metavar="SECONDS", help="Hard limit of each task's run time."),
    sets("task_soft_time_limit", "--soft-time-limit", metavar="SECONDS", help="Soft limit of each task's run time."),
    sets(
        "worker_max_tasks_per_child", "--max-tasks-per-child", "--maxtasksperchild", metavar="N",
        help="Tasks after which a child is replaced.",
    ),
    sets(
        "worker_max_memory_per_child", "--max-memory-per-child", "--maxmemperchild", metavar="KIB",
        help="Resident memory after which a child is replaced, in KiB or as 512MiB.",
    ),
    sets(
        "worker_max_memory", "--max-memory", metavar="KIB",
        help="Memory of worker and children at which it ends warm with 75, to be started again.",
    ),
    sets("worker_autoscale", "--autoscale", metavar="MAX,MIN", help="Let the number of slots follow the load."),
)  # fmt: skip
_BROKER_OPTIONS = together(
    click.option(
        "--purge", "--discard", "purge", is_flag=True, help="Throw away first what waits in the queues to consume."
    ),
    sets(
        "broker_connection_retry_on_startup", "--fail-fast", value=False,
        help="End when the broker can't be reached at the start.",
    ),
    sets("worker_prefetch_multiplier", "--prefetch-multiplier", metavar="N", help="Messages to hold per slot."),
    sets("worker_disable_prefetch", "--disable-prefetch", value=True, help="Hold no message that no slot is free for."),
)  # fmt: skip
_EVENT_OPTIONS = together(
    sets(
        "worker_send_task_events", "-E", "--task-events", "--events", value=True,
        help="Send task events from the start.",
    ),
    sets(
        "worker_heartbeat_interval", "--heartbeat-interval", metavar="SECONDS",
        help="Time between worker-heartbeat events.",
    ),
)  # fmt: skip
_BEAT_OPTIONS = together(
    click.option("-B", "--beat", is_flag=True, help="Run the scheduler in this worker too."),
    sets(
        "beat_schedule_filename", "-s", "--schedule", "--schedule-filename", metavar="FILE",
        help="With -B: keep a copy of its state in this file.",
    ),
    sets("beat_scheduler", "--scheduler", metavar="token", help="With -B: there is only token, the broker."),
)  # fmt: skip
_NEEDLESS = (
    ("-S", "--statedb"),
    ("--pool-start-method",),
)
_NEEDLESS_FLAGS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--skip-checks")


def _accepted(context: click.Context, parameter: click.Parameter, given: Any) -> None:
    """An option of Celery's whose purpose is met otherwise."""
    if given not in (None, False):
        context.meta.setdefault("amqtask.needless", []).append(parameter.opts[-1])


def needless(context: click.Context) -> list[str]:
    """Options of this command line that do nothing, for one note in the log."""
    given: list[str] = context.meta.get("amqtask.needless", [])
    return given


_CELERY_OPTIONS = together(
    *(click.option(*names, expose_value=False, callback=_accepted, hidden=True) for names in _NEEDLESS),
    *(
        click.option(name, is_flag=True, expose_value=False, callback=_accepted, hidden=True)
        for name in _NEEDLESS_FLAGS
    ),
)
_QUEUE_OPTIONS = together(
    click.option(
        "-Q", "--queues", multiple=True, metavar="NAMES", callback=comma_separated,
        help="Queues to consume, separated by commas; all of the topology if left out.",
    ),
    click.option(
        "-X", "--exclude-queues", "exclude", multiple=True, metavar="NAMES", callback=comma_separated,
        help="Queues not to consume.",
    ),
    click.option("--pool-name", metavar="POOL", help="Be this pool of the routing file: its queues and its settings."),
    click.option(
        "--order", type=click.Choice(["strict", "weighted", "fair"]),
        help="Which queue is served first.  [setting: worker_queue_order]",
    ),
)  # fmt: skip
_POOL_OPTIONS = together(
    click.option(
        "-P", "--pool", metavar="KIND",
        help="What runs tasks: prefork, threads, asyncio, gevent or solo.  [setting: worker_pool]",
    ),
    click.option(
        "-c", "--concurrency", callback=_read_concurrency, metavar="N",
        help="How many tasks run at once.  [setting: worker_concurrency; default, or auto: prefork the usable CPUs, "
        "threads these and 4, asyncio and gevent 100]",
    ),
    click.option(
        "-n", "--hostname", metavar="NAME",
        help="Name of this worker; %h is the host name, %n its first part, %d its domain.  [default: amqtask@%h]",
    ),
    click.option(
        "--prefetch", type=click.IntRange(1, 65535), metavar="N",
        help="Messages to hold per queue.  [setting: worker_prefetch; default: the queue's, else automatic]",
    ),
    click.option(
        "-O", "--optimization", type=click.Choice(["default", "fair"]), default="default", show_default=True,
        help="fair: a prefork child never holds a second task, however short tasks are.",
    ),
)  # fmt: skip
WORKER_OPTIONS = together(
    _QUEUE_OPTIONS,
    _POOL_OPTIONS,
    LEVEL_OPTION,
    FORMAT_OPTION,
    TIMEOUT_OPTION,
    LIMIT_OPTIONS,
    _BROKER_OPTIONS,
    _EVENT_OPTIONS,
    HEALTH_OPTION,
    METRICS_OPTION,
    _BEAT_OPTIONS,
    _CELERY_OPTIONS,
    click.option(
        "-I", "--include", multiple=True, metavar="MODULES", callback=comma_separated,
        help="More modules to import, because they define tasks.",
    ),
)  # fmt: skip
