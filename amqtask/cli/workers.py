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
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup

ONLY_WORKER = "worker"
"""Name of the one worker where no pools are declared."""

_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class WorkerFlags:
    """Options of the workers' command lines; times in seconds."""

    loglevel: str
    logformat: str
    shutdown_timeout: float | None


def pool_words(app: Amqtask) -> dict[str, list[str]]:
    """Name -> options that choose a worker: one for each declared pool, or one for all queues when there are none.

    gevent is named there, whoever has chosen it: it has to patch before the app is imported. Each pool has an
    address of its own for metrics, if there is one.

    Raises:
        ConfigError: ``worker_metrics`` is no address, or has too few ports after it.
    """
    kinds = {name: pool.pool for name, pool in app.topology.pools.items()} or {ONLY_WORKER: None}
    words = {name: ["--pool-name", name] if app.topology.pools else [] for name in kinds}
    for name, kind in kinds.items():
        if (kind or app.settings.worker_pool) == "gevent":
            words[name] += ["-P", "gevent"]
    where = app.settings.worker_metrics
    if where is not None and app.topology.pools:
        for number, name in enumerate(words):
            words[name] += ["--metrics", _nth_address(where, number, len(words))]
    return words


def _nth_address(text: str, number: int, pools: int) -> str:
    """The address this many ports further, of as many as there are pools; any free port stays that."""
    from amqtask.worker.http_server import address  # noqa: PLC0415 -- only where metrics are wanted

    _, port = address(text, "worker_metrics")
    if port + pools - 1 > _PORT_MAX:
        raise ConfigError(
            f"--metrics (worker_metrics): the {pools} pools of routing.yaml take the given port and those after it; "
            f"{port} is too high for that, choose {_PORT_MAX - pools + 1} or less"
        )
    return f"{text.strip().rpartition(':')[0]}:{port and port + number}"


def commands(
    setup: Setup, options: WorkerFlags, pools: Mapping[str, Iterable[str]], *, again: bool = False
) -> dict[str, list[str]]:
    """Name -> command line of a worker.

    Args:
        setup: the common options.
        options: of the workers.
        pools: of :func:`pool_words`.
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
    return {name: [*base, *words, *more] for name, words in pools.items()}


def environment(setup: Setup) -> dict[str, str]:
    """For the workers: the broker's password must not stand on their command lines."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", APP_VARIABLE: setup.app_path or "", **setup.handed_on()}


def output(setup: Setup, options: WorkerFlags, own: str, names: Iterable[str]) -> Callable[[str, bytes], None]:
    """What prints the lines of all of them; ``own`` is the name of the command itself."""
    color = sys.stderr.isatty() and not setup.no_color and not os.environ.get("NO_COLOR")
    return writer(own, names, color=color, plain=options.logformat == "json")
