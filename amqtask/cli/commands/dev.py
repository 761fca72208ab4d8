"""``amqtask dev``: broker, workers and reload in one terminal. Owns what belongs to it, and the broker's lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.exits import UNAVAILABLE
from amqtask.cli.ports import AMQP_PORT, is_free
from amqtask.cli.worker_options import FORMAT_OPTION, LEVEL_OPTION, read_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.app.app import Amqtask
    from amqtask.app.dev import Started
    from amqtask.cli.setup import Setup
    from amqtask.cli.supervisor import Supervisor
    from amqtask.cli.workers import WorkerFlags
    from amqtask.config.sources import Source

_BROKER = "broker"
"""Name before the broker's lines."""


@click.command("dev", cls=Command, short_help="Broker, all workers and reload in one terminal.")
@LEVEL_OPTION
@FORMAT_OPTION
@click.option(
    "--shutdown-timeout", metavar="SECONDS", callback=read_seconds, default="5", show_default=True,
    help="How long running tasks may go on at a reload and at the end; then they are put back.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT",
    help="Of the dev broker.  [default: 5672, or any other if that is taken]",
)  # fmt: skip
@click.option("--trace", is_flag=True, help="Print every AMQP method of the dev broker.")
@click.option("--reload/--no-reload", default=True, help="Restart workers when files change (the default).")
@click.option(
    "--watch", multiple=True, metavar="DIR", type=click.Path(exists=True),
    help="Watch this folder too, besides the current one and that of the routing file.",
)  # fmt: skip
@click.option("--list-pools", is_flag=True, hidden=True)
@click.pass_obj
def dev(
    setup: Setup, /, port: int | None, trace: bool, reload: bool, watch: tuple[str, ...], list_pools: bool,
    loglevel: str, logformat: str, shutdown_timeout: float,
) -> int:  # fmt: skip
    """Run a broker and a worker for each pool of the routing file (or one for all queues) until Ctrl-C.

    Where the app or -b says which broker to use, it is that one. Else a dev broker is started: in memory, for
    development only. When a Python or YAML file changes, running tasks end and the workers start anew; the
    broker stays, and with it what waits in the queues.

    \b
    amqtask dev -A proj
    amqtask dev -A proj --trace --no-reload
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.cli import workers  # noqa: PLC0415 -- --help needs none of it
    from amqtask.cli.reload import can_watch  # noqa: PLC0415
    from amqtask.cli.scheduling import remark  # noqa: PLC0415
    from amqtask.cli.supervisor import Supervisor  # noqa: PLC0415

    app = setup.load("app")
    app.load_tasks()
    pools = workers.pool_words(app)
    if list_pools:  # see amqtask.cli.reload
        print(json.dumps(pools))
        return 0
    options = workers.WorkerFlags(loglevel, logformat, shutdown_timeout)
    broker = _start_broker(app, port, trace)
    commands = workers.commands(setup, options, pools)
    write = workers.output(setup, options, "dev", [_BROKER, *commands])
    watching = reload and can_watch()
    supervisor = Supervisor(commands, write, workers.environment(setup), patient=watching)
    if broker is not None:
        _attach(supervisor, app, broker, write)
    if watching:
        _watch(setup, options, supervisor, _folders(app, watch))
    elif reload:
        supervisor.say("reload is off; to have it: pip install 'amqtask[reload]'")
    remark(setup, app, supervisor.say)
    return supervisor.run()


def _start_broker(app: Amqtask, port: int | None, trace: bool) -> Started | None:
    """Start the dev broker, unless another broker was named, or a dev broker that runs already."""
    from amqtask.app import dev  # noqa: PLC0415
    from amqtask.broker.url import dev_vhost  # noqa: PLC0415
    from amqtask.config.sources import Source  # noqa: PLC0415

    origin = app.configuration.origin("broker_url")
    if origin is not Source.DEFAULT and dev_vhost(app.settings.broker_url) is None:
        if port is not None or trace:
            raise click.UsageError(f"--port and --trace are for the dev broker; {_named_by(origin)} names another one.")
        _ = app.broker_urls  # can it be read?
        return None
    if origin is Source.DEFAULT:
        os.environ["AMQTASK_BROKER_URL"] = "dev://"
    if os.environ.get(dev.URL_VARIABLE):
        return None
    chosen = port if port is not None else AMQP_PORT if is_free("127.0.0.1", AMQP_PORT) else 0
    return dev.start(["--port", str(chosen), *["--trace"] * trace])


def _named_by(origin: Source) -> str:
    return {"code": "the app", "environment": "AMQTASK_BROKER_URL", "command line": "-b"}.get(str(origin), str(origin))


def _attach(supervisor: Supervisor, app: Amqtask, broker: Started, write: Callable[[str, bytes], None]) -> None:
    """Show the broker's lines, say where it is, and end everything when it ends: what it held is gone."""
    from amqtask.app import dev  # noqa: PLC0415
    from amqtask.broker.url import dev_vhost  # noqa: PLC0415
    from amqtask.config.sources import Source  # noqa: PLC0415

    def ended(code: int) -> None:
        supervisor.say(f"the dev broker has ended (exit code {code}), and everything it held is gone; stopping")
        supervisor.end(UNAVAILABLE)

    supervisor.attach(broker.process, lambda line: write(_BROKER, line), ended)
    vhost = dev_vhost(app.settings.broker_url)
    url = dev.client_url(vhost or "/")
    in_code = app.configuration.origin("broker_url") is Source.CODE
    for line in (
        f"{url}  (development only: nothing survives a restart)",
        f"in another terminal: export {dev.URL_VARIABLE if in_code else 'AMQTASK_BROKER_URL'}={url}",
        f"to look into it, or break it: amqtask broker do --control {os.environ[dev.CONTROL_VARIABLE]}",
    ):
        write(_BROKER, line.encode())


def _watch(setup: Setup, options: WorkerFlags, supervisor: Supervisor, folders: Iterable[Path]) -> None:
    from amqtask.cli import workers  # noqa: PLC0415
    from amqtask.cli.reload import Reloader  # noqa: PLC0415

    look = [sys.executable, "-m", "amqtask", "dev", "--list-pools"]
    if setup.routing is not None:
        look += ["--routing", setup.routing]
    Reloader(supervisor, look, lambda pools: workers.commands(setup, options, pools, again=True), folders)


def _folders(app: Amqtask, more: Iterable[str]) -> list[Path]:
    """What to watch: the current folder, that of the routing file, and those that were named."""
    source = app.topology.source
    named = [Path.cwd(), *([Path(source).resolve().parent] if source else []), *(Path(name).resolve() for name in more)]
    return [path for path in dict.fromkeys(named) if not any(path.is_relative_to(up) for up in named if up != path)]


COMMAND = dev
