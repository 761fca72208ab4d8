"""``amqtask up``: every pool of the routing file in one supervised tree of processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.worker_options import FORMAT_OPTION, LEVEL_OPTION, METRICS_OPTION, TIMEOUT_OPTION, chosen_settings
from amqtask.errors import TopologyError

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("up", cls=Command, short_help="Run all pools of the routing file.")
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@LEVEL_OPTION
@FORMAT_OPTION
@TIMEOUT_OPTION
@METRICS_OPTION
@click.pass_context
def up(
    context: click.Context,
    /,
    pools: tuple[str, ...],
    loglevel: str,
    logformat: str,
    shutdown_timeout: float | None,
) -> int:
    """Run a worker for each pool of the routing file (or only for each POOL named), until SIGTERM or Ctrl-C.

    A worker that dies is started again, after a growing pause. The first signal lets running tasks end, the
    second stops them and puts them back, a third kills.
    """
    from amqtask.cli import workers  # noqa: PLC0415 -- --help needs none of it
    from amqtask.cli.scheduling import remark  # noqa: PLC0415
    from amqtask.cli.supervisor import Supervisor  # noqa: PLC0415
    from amqtask.config.sources import Source  # noqa: PLC0415

    setup: Setup = context.obj
    app = setup.load("app")
    if chosen := chosen_settings(context):
        app.configuration.update(chosen, Source.COMMAND_LINE)
    declared = app.topology
    if not declared.pools:
        raise TopologyError(
            f"{declared.source or 'the topology'} declares no pools; 'amqtask worker' and 'amqtask dev' need none"
        )
    names = list(dict.fromkeys(pools)) or list(declared.pools)
    for name in names:
        declared.pool(name)
    _ = app.broker_urls  # a dev broker is started here, not by each worker
    options = workers.WorkerFlags(loglevel, logformat, shutdown_timeout)
    write = workers.output(setup, options, "up", names)
    words = workers.pool_words(app)
    commands = workers.commands(setup, options, {name: words[name] for name in names})
    supervisor = Supervisor(commands, write, workers.environment(setup))
    remark(setup, app, supervisor.say)
    return supervisor.run()


COMMAND = up
