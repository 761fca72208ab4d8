"""``amqtask worker``: run tasks. Owns its options; the worker itself is :mod:`amqtask.worker.worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amqtask import logs
from amqtask.cli.command import Command, comma_separated
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup
    from amqtask.worker.options import Requested


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


@click.command("worker", cls=Command, short_help="Run tasks.")
@click.option(
    "-Q", "--queues", multiple=True, metavar="NAMES", callback=comma_separated,
    help="Queues to consume, separated by commas; all of the topology if left out.",
)  # fmt: skip
@click.option(
    "-X", "--exclude-queues", "exclude", multiple=True, metavar="NAMES", callback=comma_separated,
    help="Queues not to consume.",
)  # fmt: skip
@click.option("--pool-name", metavar="POOL", help="Be this pool of the routing file: its queues and its settings.")
@click.option(
    "-P", "--pool", metavar="KIND",
    help="What runs tasks: prefork, threads, asyncio or solo.  [setting: worker_pool]",
)  # fmt: skip
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=1), metavar="N",
    help="How many tasks run at once.  [setting: worker_concurrency; default: prefork the usable CPUs, "
    "threads these and 4, asyncio 100]",
)  # fmt: skip
@click.option(
    "-n", "--hostname", metavar="NAME",
    help="Name of this worker; %h is the host name, %n its first part, %d its domain.  [default: amqtask@%h]",
)  # fmt: skip
@click.option(
    "--prefetch", type=click.IntRange(1, 65535), metavar="N",
    help="Messages to hold per queue.  [setting: worker_prefetch; default: the queue's, else automatic]",
)  # fmt: skip
@click.option(
    "--order", type=click.Choice(["strict", "weighted", "fair"]),
    help="Which queue is served first.  [setting: worker_queue_order]",
)  # fmt: skip
@click.option(
    "-O", "--optimization", type=click.Choice(["default", "fair"]), default="default", show_default=True,
    help="fair: a prefork child never holds a second task, however short tasks are.",
)  # fmt: skip
@LEVEL_OPTION
@FORMAT_OPTION
@TIMEOUT_OPTION
@click.option(
    "-I", "--include", multiple=True, metavar="MODULES", callback=comma_separated,
    help="More modules to import, because they define tasks.",
)  # fmt: skip
@click.pass_obj
def worker(setup: Setup, /, include: tuple[str, ...], optimization: str, **given: Any) -> int:
    """Run the tasks that arrive in the queues, until SIGTERM or Ctrl-C.

    The first signal lets running tasks end (see --shutdown-timeout), a second one stops them and puts them
    back.

    \b
    amqtask worker -A proj                         every queue
    amqtask worker -A proj -Q emails,files.small   a worker for two queues
    amqtask worker -A proj --pool-name mail        a pool of routing.yaml
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.worker.options import Requested, resolve  # noqa: PLC0415 -- --help needs none of it

    requested: Requested = Requested(**given, quiet=setup.quiet, fair=optimization == "fair")
    color = False if setup.no_color else None
    logs.configure_logging(requested.loglevel, requested.logformat, color=color)
    app = setup.load("app")
    _include(app, include)
    options = resolve(requested, app.topology, app.settings)
    app.load_tasks()
    _ = app.broker_urls  # a dev broker is started before the pool forks: one for all of them
    logs.set_process_name(options.hostname)
    logs.provide_task_fields(_task_fields)

    from amqtask.worker.worker import Worker  # noqa: PLC0415

    return Worker(app, options).run()


def _include(app: Amqtask, modules: tuple[str, ...]) -> None:
    from amqtask.config.sources import Source  # noqa: PLC0415

    if modules:
        app.configuration.update({"include": (*app.settings.include, *modules)}, Source.COMMAND_LINE)


def _task_fields() -> Mapping[str, Any] | None:
    from amqtask.tasks.context import current  # noqa: PLC0415

    context = current()
    return None if context is None or context.id is None else {"task": context.task, "task_id": context.id}


COMMAND = worker
