"""``amqtask worker``: run tasks. Owns the order in which its process comes up.

The worker itself is :mod:`amqtask.worker.worker`; the options are in :mod:`amqtask.cli.worker_options`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

import click

from amqtask import logs
from amqtask.cli.command import Command
from amqtask.cli.process_options import ProcessOptions, process_options
from amqtask.cli.worker_options import WORKER_OPTIONS, chosen_settings, needless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.cli.daemon import Program
    from amqtask.cli.setup import Setup
    from amqtask.worker.options import Requested, WorkerOptions

logger = logging.getLogger(__name__)

_PROCESS = tuple(field.name for field in dataclasses.fields(ProcessOptions))


@click.command("worker", cls=Command, short_help="Run tasks.")
@WORKER_OPTIONS
@process_options
@click.pass_context
def worker(
    context: click.Context, /, include: tuple[str, ...], optimization: str, purge: bool, beat: bool, **given: Any
) -> int:
    """Run the tasks that arrive in the queues, until SIGTERM or Ctrl-C.

    The first signal lets running tasks end (see --shutdown-timeout), a second one stops them and puts them
    back. SIGHUP has a fresh process take over without a gap, SIGUSR1 writes stacks to the log.

    \b
    amqtask worker -A proj                         every queue
    amqtask worker -A proj -Q emails,files.small   a worker for two queues
    amqtask worker -A proj --pool-name mail        a pool of routing.yaml
    """  # noqa: D301 -- click reads \b as "keep these lines"
    _patch(given["pool"], given["pool_name"])
    from amqtask.cli.daemon import Program  # noqa: PLC0415 -- --help needs none of it
    from amqtask.worker.options import Requested, node_name  # noqa: PLC0415

    setup: Setup = context.obj
    process = ProcessOptions(**{name: given.pop(name) for name in _PROCESS})
    with Program(setup, process, node_name(given["hostname"], given["pool_name"])) as program:
        color = False if setup.no_color else None
        logs.configure_logging(given["loglevel"], given["logformat"], color=color)
        requested = Requested(
            **given,
            quiet=setup.quiet,
            fair=optimization == "fair",
            beat=beat,
            health_socket=None if program.pidfile is None else program.pidfile.socket,
        )
        app = setup.load("app")
        plain = {"worker_log_color": False} if setup.no_color else {}
        _set(app, {**chosen_settings(context), **plain}, include)
        return _run(app, requested, program, purge=purge, ignored=needless(context))


def _patch(pool: str | None, pool_name: str | None) -> None:
    """Before anything else is imported: gevent changes the standard library.

    The variable does not tell of a pool of routing.yaml, which mostly has a kind of its own.
    """
    variable = None if pool_name else os.environ.get("AMQTASK_WORKER_POOL")
    if (pool or variable) == "gevent":
        from amqtask.worker.pools._gevent_patch import patch  # noqa: PLC0415

        patch()


def _run(app: Amqtask, requested: Requested, program: Program, *, purge: bool, ignored: Sequence[str]) -> int:
    from amqtask.cli.log_signals import finish_logging  # noqa: PLC0415
    from amqtask.worker.options import resolve  # noqa: PLC0415

    options = resolve(requested, app.topology, app.settings)
    app.load_tasks()
    finish_logging(app.settings, requested.loglevel, color=app.settings.worker_log_color)
    _ = app.broker_urls  # a dev broker is started before the pool forks: one for all of them
    logs.set_process_name(options.hostname)
    logs.provide_task_fields(_task_fields)
    _warn(ignored)
    if purge and program.launch.predecessor is None:
        _purge(app, options)

    from amqtask.worker.worker import Worker  # noqa: PLC0415

    worker = Worker(app, options, program.ready, program.launch)
    worker.on_start, worker.on_leave, worker.on_replaced = program.started, program.leave, program.replaced
    worker.on_stop = program.hand_on
    return worker.run()


def _set(app: Amqtask, chosen: Mapping[str, Any], include: tuple[str, ...]) -> None:
    from amqtask.config.sources import Source  # noqa: PLC0415

    values = {**chosen, **({"include": (*app.settings.include, *include)} if include else {})}
    if values:
        app.configuration.update(values, Source.COMMAND_LINE)


def _purge(app: Amqtask, options: WorkerOptions) -> None:
    """Throw away what waits in the queues that exist."""
    from amqtask.cli.broker import open_admin  # noqa: PLC0415

    with open_admin(app) as admin:
        for name, _ in options.queues:
            state = admin.queue_state(name)
            if state is not None:
                logger.warning("%d messages purged from %s", admin.purge(name), name)


def _warn(given: Sequence[str]) -> None:
    if given:
        logger.info("%s: accepted, and not needed: there is nothing it would change", ", ".join(given))
    if os.getuid() == 0:
        logger.warning("Running as root: tasks can do anything on this machine; see --uid")


def _task_fields() -> Mapping[str, Any] | None:
    from amqtask.tasks.context import current  # noqa: PLC0415

    context = current()
    return None if context is None or context.id is None else {"task": context.task, "task_id": context.id}


COMMAND = worker
