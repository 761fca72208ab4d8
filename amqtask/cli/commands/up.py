"""``amqtask up``: every pool of the routing file in one supervised tree of processes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.commands.worker import FORMAT_OPTION, LEVEL_OPTION, TIMEOUT_OPTION
from amqtask.cli.setup import APP_VARIABLE, BROKER_VARIABLE
from amqtask.errors import TopologyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.cli.setup import Setup

_COLORS = (36, 35, 32, 34, 33)
"""Of the prefixes: cyan, magenta, green, blue, yellow."""


@click.command("up", cls=Command, short_help="Run all pools of the routing file.")
@click.argument("pools", nargs=-1, metavar="[POOL]...")
@LEVEL_OPTION
@FORMAT_OPTION
@TIMEOUT_OPTION
@click.pass_obj
def up(setup: Setup, pools: tuple[str, ...], loglevel: str, logformat: str, shutdown_timeout: float | None) -> int:
    """Run a worker for each pool of the routing file (or only for each POOL named), until SIGTERM or Ctrl-C.

    A worker that dies is started again, after a growing pause. The first signal lets running tasks end, the
    second stops them and puts them back, a third kills.
    """
    from amqtask.cli.supervisor import Supervisor  # noqa: PLC0415 -- --help needs none of it

    app = setup.load("app")
    declared = app.topology
    if not declared.pools:
        raise TopologyError(f"{declared.source or 'the topology'} declares no pools; 'amqtask worker' needs none")
    names = list(dict.fromkeys(pools)) or list(declared.pools)
    for name in names:
        declared.pool(name)
    options = ["--loglevel", loglevel, "--log-format", logformat]
    if shutdown_timeout is not None:
        options += ["--shutdown-timeout", str(shutdown_timeout)]
    if setup.routing is not None:
        options += ["--routing", setup.routing]
    options += ["--no-color"] * setup.no_color + ["--quiet"] * setup.quiet
    base = [sys.executable, "-m", "amqtask", "worker"]
    commands = {name: [*base, "--pool-name", name, *options] for name in names}
    color = sys.stderr.isatty() and not setup.no_color and not os.environ.get("NO_COLOR")
    write = _plain if logformat == "json" else _prefixed(names, color)
    return Supervisor(commands, write, _environment(setup)).run()


def _environment(setup: Setup) -> dict[str, str]:
    """For the workers: the broker's password must not stand on their command lines."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", APP_VARIABLE: setup.app_path or ""}
    if setup.broker is not None:
        environment[BROKER_VARIABLE] = setup.broker
    return environment


def _plain(_name: str, line: bytes) -> None:
    """JSON lines carry the worker's name already."""
    sys.stderr.buffer.write(line + b"\n")
    sys.stderr.flush()


def _prefixed(names: Iterable[str], color: bool) -> Callable[[str, bytes], None]:
    width = max(len(name) for name in (*names, "up"))
    prefixes = {}
    for place, name in enumerate(["", *names]):
        text = f"{name or 'up':<{width}} | "
        prefixes[name] = (f"\x1b[{_COLORS[place % len(_COLORS)]}m{text}\x1b[0m" if color else text).encode()

    def write(name: str, line: bytes) -> None:
        sys.stderr.buffer.write(prefixes[name] + line + b"\n")
        sys.stderr.flush()

    return write


COMMAND = up
