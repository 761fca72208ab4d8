"""``amqtask beat``: send periodic tasks when they are due. Owns its options and the order in which it comes up."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

import click

from amqtask import logs
from amqtask.cli.command import Command
from amqtask.cli.output import count
from amqtask.cli.process_options import ProcessOptions, process_options
from amqtask.cli.worker_options import (
    FORMAT_OPTION,
    HEALTH_OPTION,
    LEVEL_OPTION,
    METRICS_OPTION,
    chosen_settings,
    sets,
)
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.beat.service import Beat
    from amqtask.cli.daemon import Program
    from amqtask.cli.setup import Setup
    from amqtask.config.settings import Settings
    from amqtask.worker.health.server import Health, HealthServer
    from amqtask.worker.health.watchdog import LoopGuard
    from amqtask.worker.http_server import HttpServer

logger = logging.getLogger("amqtask.beat")

_PROCESS = tuple(field.name for field in dataclasses.fields(ProcessOptions))
_LOOKS = 3
"""Looks at whether the loop turns, in the time after which the process is ended."""


@click.command("beat", cls=Command, short_help="Send periodic tasks when they are due.")
@sets(
    "beat_max_loop_interval",
    "--max-interval",
    metavar="SECONDS",
    help="Longest time between two looks at the clock; never more than a second.",
)
@sets(
    "beat_schedule_filename",
    "-s",
    "--schedule",
    metavar="FILE",
    help="Keep a copy of the state in this SQLite file; it is read when the broker has none.",
)
@sets(
    "beat_scheduler",
    "-S",
    "--scheduler",
    metavar="token",
    help="Where the state is kept: there is only token, the broker. Another class is an error.",
)
@HEALTH_OPTION
@METRICS_OPTION
@LEVEL_OPTION
@FORMAT_OPTION
@process_options
@click.pass_context
def beat(context: click.Context, /, loglevel: str, logformat: Any, **given: Any) -> None:
    """Send periodic tasks when they are due, until SIGTERM, SIGQUIT or Ctrl-C. SIGUSR1 writes stacks to the log.

    Start as many as you like, on as many machines: one leads, another takes over when it ends, and each due time is
    sent once. The state is kept in the broker.

    \b
    amqtask beat -A proj
    amqtask schedule list -A proj      what is due next
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.cli.daemon import Program  # noqa: PLC0415 -- --help needs none of it
    from amqtask.cli.log_style import restyle  # noqa: PLC0415
    from amqtask.config.sources import Source  # noqa: PLC0415

    setup: Setup = context.obj
    process = ProcessOptions(**{name: given.pop(name) for name in _PROCESS})
    with Program(setup, process, _node()) as program:
        logs.configure_logging(loglevel, logformat, color=False if setup.no_color else None)
        app = setup.load("app")
        if chosen := chosen_settings(context):
            app.configuration.update(chosen, Source.COMMAND_LINE)
        app.load_tasks()
        restyle(app.settings)
        logs.set_process_name("beat")
        from amqtask.beat.service import start_beat  # noqa: PLC0415

        _run(lambda on_ready: start_beat(app, on_ready), app.settings, program)


def _node() -> str:
    import socket  # noqa: PLC0415

    return f"beat@{socket.gethostname()}"


def _run(make: Callable[[Callable[[], None]], Beat], settings: Settings, program: Program) -> None:
    from amqtask.worker.process.notify import notify, watchdog_interval  # noqa: PLC0415

    def ready() -> None:
        program.started()
        program.ready()

    running = make(ready)

    def stop(*_: object) -> None:
        running.stop()

    handlers: dict[signal.Signals, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), stop)
    handlers |= {signal.SIGUSR1: _tell_stacks, signal.SIGUSR2: signal.SIG_IGN}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    servers = _servers(running, settings, program)
    logger.info("%s; waiting for the lead", count(len(running.entries), "periodic task"))
    # a thread of its own: signal handlers run on the main one, which must not be in the middle of the loop's work
    thread = threading.Thread(target=_guarded(running), name="amqtask-beat")
    thread.start()
    guard = _guard(running, settings.worker_watchdog_timeout, program)
    notify("READY=1")
    watched = watchdog_interval() is not None
    try:
        while thread.is_alive():
            thread.join(0.5)
            if watched and not running.proof.problem():
                notify("WATCHDOG=1")
    finally:
        if guard is not None:
            guard.stop()
        for server in servers:
            server.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
    if running.failure is not None:
        raise running.failure


def _servers(running: Beat, settings: Settings, program: Program) -> Sequence[HealthServer | HttpServer]:
    """What answers from now on, whatever the loop does."""
    path = None if program.pidfile is None else program.pidfile.socket
    servers: list[HealthServer | HttpServer] = []
    if settings.worker_metrics is not None:
        from amqtask.worker.metrics.beat import beat_server  # noqa: PLC0415 -- most do without

        servers.append(beat_server(running.pulse, len(running.entries), settings.worker_metrics))
    if settings.worker_health is not None or path is not None:
        from amqtask.worker.health.server import HealthServer  # noqa: PLC0415

        servers.append(HealthServer(_asked(running), settings.worker_health, path))
    for server in servers:
        server.start()
    return servers


def _guard(running: Beat, timeout: float, program: Program) -> LoopGuard | None:
    """Ends the process when its loop hangs: something outside starts a fresh one, and another one leads meanwhile."""
    from amqtask.worker.health.watchdog import LoopGuard  # noqa: PLC0415 -- --help needs none of it

    if not timeout:
        return None
    guard = LoopGuard(running.call_soon, timeout / _LOOKS, _LOOKS, program.leave)
    guard.start()
    return guard


def _tell_stacks(*_: object) -> None:
    from amqtask.worker.process.stacks import stacks  # noqa: PLC0415 -- --help needs none of it

    logger.warning("SIGUSR1: stacks\n%s", stacks())


def _guarded(running: Beat) -> Callable[[], None]:
    def run() -> None:
        try:
            running.run()
        except Exception as error:
            running.failure = error
        except SystemExit as error:  # which would end this thread without a word
            running.failure = AmqtaskError(f"code of a periodic task has ended the scheduler: SystemExit({error.code})")

    return run


def _asked(running: Beat) -> Callable[[Callable[[Health], None]], None]:
    from amqtask.worker.health.server import Health  # noqa: PLC0415

    def ask(answer: Callable[[Health], None]) -> None:
        frozen = running.proof.problem()
        answer(Health(frozen, frozen or ("" if running.pulse.connected else "no connection to the broker")))

    return ask


COMMAND = beat
