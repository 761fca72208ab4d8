"""The workers that ``amqtask up`` and ``amqtask dev`` run: their command lines, their environment, their output.

Owns what the common options and the options of both commands mean for a worker.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.cli.lines import writer
from amqtask.cli.setup import APP_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.cli.setup import Setup

ONLY_WORKER = "worker"
"""Name of the one worker where no pools are declared."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of the workers' command lines; times in seconds."""

    loglevel: str
    logformat: str
    shutdown_timeout: float | None


def commands(
    setup: Setup, options: WorkerOptions, pools: Iterable[str], *, again: bool = False
) -> dict[str, list[str]]:
    """Name -> command line: a worker for each pool, or one for all queues when there are no pools.

    Args:
        setup: the common options.
        options: of the workers.
        pools: names.
        again: they ran before, and have said what there is to say about them.
    """
    more = ["--loglevel", options.loglevel, "--log-format", options.logformat]
    if options.shutdown_timeout is not None:
        more += ["--shutdown-timeout", str(options.shutdown_timeout)]
    if setup.routing is not None:
        more += ["--routing", setup.routing]
    if setup.config is not None:
        more += ["--config", setup.config]
    more += ["--no-color"] * setup.no_color + ["--quiet"] * (setup.quiet or again)
    base = [sys.executable, "-m", "amqtask", "worker"]
    return {name: [*base, "--pool-name", name, *more] for name in pools} or {ONLY_WORKER: [*base, *more]}


def environment(setup: Setup) -> dict[str, str]:
    """For the workers: the broker's password must not stand on their command lines."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", APP_VARIABLE: setup.app_path or "", **setup.handed_on()}


def output(setup: Setup, options: WorkerOptions, own: str, names: Iterable[str]) -> Callable[[str, bytes], None]:
    """What prints the lines of all of them; ``own`` is the name of the command itself."""
    color = sys.stderr.isatty() and not setup.no_color and not os.environ.get("NO_COLOR")
    return writer(own, names, color=color, plain=options.logformat == "json")
