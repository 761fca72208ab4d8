"""What one worker process is to do: the command line, a pool of routing.yaml and the settings, merged.

Owns the merge: command line > pool of routing.yaml > settings > defaults. Nothing is started here.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError, TopologyError
from amqtask.plugins import did_you_mean
from amqtask.worker.bounds import read_bounds
from amqtask.worker.pools.base import pools
from amqtask.worker.process.cpus import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.logs import LogFormat
    from amqtask.topology.declarations import Pool, QueueOrder
    from amqtask.topology.model import Topology

ASYNC_CONCURRENCY = 100
"""Slots of the asyncio and gevent pools: a waiting task costs little there, so CPUs are no measure."""

MAX_CONCURRENCY = 65_535
"""The largest prefetch count AMQP can express; more slots could not be filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """One worker process. Times in seconds.

    Attributes:
        queues: (name, weight) of every queue to consume, in strict order; never empty.
        pool: name of the pool that runs the tasks.
        concurrency: slots of the pool.
        hostname: the worker's node name, ``name@host``, expanded.
        prefetch: messages held per queue, for all queues; None: as each queue says, else automatic.
        order: which of the queues is served first.
        shutdown_timeout: how long running tasks may go on after the first SIGTERM.
        pool_name: the pool of routing.yaml this worker is, or None.
        loglevel: in lower case.
        logformat: ``text`` or ``json``.
        quiet: no banner.
        fair: no slot ever holds a second message, however short tasks are.
        beat: the scheduler runs in this process too.
        health_socket: path of a Unix socket where its health is told, or None.
    """

    queues: tuple[tuple[str, int], ...]
    pool: str
    concurrency: int
    hostname: str
    prefetch: int | None = None
    order: QueueOrder = "fair"
    shutdown_timeout: float = 30.0
    pool_name: str | None = None
    loglevel: str = "info"
    logformat: LogFormat = "text"
    quiet: bool = False
    fair: bool = False
    beat: bool = False
    health_socket: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """What the command line asks for; None and empty: nothing is asked for. See :class:`WorkerOptions`."""

    queues: Sequence[str] = ()
    exclude: Sequence[str] = ()
    pool: str | None = None
    concurrency: int | None = None
    hostname: str | None = None
    prefetch: int | None = None
    order: QueueOrder | None = None
    shutdown_timeout: float | None = None
    pool_name: str | None = None
    loglevel: str = "info"
    logformat: LogFormat = "text"
    quiet: bool = False
    fair: bool = False
    beat: bool = False
    health_socket: str | None = None


def resolve(requested: Requested, topology: Topology, settings: Settings) -> WorkerOptions:
    """Merge what was asked for with the topology and the settings.

    Raises:
        TopologyError: an unknown queue or pool of routing.yaml; names the nearest.
        ConfigError: an unknown kind of pool, no queue left, or a number that can't be.
    """
    declared = None if requested.pool_name is None else _declared_pool(requested.pool_name, topology)
    pool = requested.pool or (declared.pool if declared else None) or settings.worker_pool
    _check_pool(pool)
    asked = requested.concurrency or (declared.concurrency if declared else None)
    slots = most = _concurrency(pool, asked, settings.worker_concurrency)
    if settings.worker_autoscale is not None:
        most, fewest = _autoscale(pool, settings.worker_autoscale)
        slots = min(most, max(fewest, asked or fewest))
    prefetch = requested.prefetch or (declared.prefetch if declared else None) or _prefetch(most, settings)
    timeout = requested.shutdown_timeout
    return WorkerOptions(
        queues=_queues(requested, declared, topology),
        pool=pool,
        concurrency=slots,
        hostname=node_name(requested.hostname, requested.pool_name),
        prefetch=prefetch,
        order=requested.order or (declared.order if declared else settings.worker_queue_order),
        shutdown_timeout=settings.worker_shutdown_timeout if timeout is None else timeout,
        pool_name=requested.pool_name,
        loglevel=requested.loglevel.lower(),
        logformat=requested.logformat,
        quiet=requested.quiet,
        fair=requested.fair or settings.worker_disable_prefetch,
        beat=requested.beat,
        health_socket=requested.health_socket,
    )


def default_concurrency(pool: str) -> int:
    """Slots of a pool when nobody says how many.

    prefork has one per usable CPU, for user code that computes; threads what ``concurrent.futures`` takes
    (usable CPUs and 4 more, at most 32); asyncio and gevent 100; solo 1.
    """
    if pool == "solo":
        return 1
    if pool in ("asyncio", "gevent"):
        return ASYNC_CONCURRENCY
    return min(32, usable_cpus() + 4) if pool == "threads" else usable_cpus()


def node_name(name: str | None, pool_name: str | None = None, host: str | None = None) -> str:
    """Expand a node name: ``%h`` is the host name, ``%n`` its first part, ``%d`` the rest, ``%%`` a ``%``.

    Args:
        name: as given; None: the pool's name, or ``amqtask``. Without an ``@``, ``@%h`` is added.
        pool_name: pool of routing.yaml.
        host: instead of this machine's host name.

    Raises:
        ConfigError: an unknown ``%`` sequence, more than one ``@``, or nothing is left.
    """
    host = host or socket.gethostname()
    short, _, domain = host.partition(".")
    known = {"h": host, "n": short, "d": domain, "%": "%"}
    text = name if name is not None else pool_name or "amqtask"
    text = text if "@" in text else f"{text}@%h"

    def expand(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise ConfigError(
                f"worker name {text!r}: {found[0]!r} is unknown; there are "
                "%h (host name), %n (its first part), %d (domain) and %%"
            )
        return known[found[1]]

    expanded = re.sub(r"%(.?)", expand, text).strip()
    if expanded.count("@") > 1:
        raise ConfigError(f"worker name {expanded!r}: there is one @, between its name and the host's")
    if expanded.startswith("@") or expanded.endswith("@"):
        raise ConfigError(f"worker name {expanded!r}: write name@host, for example w1@%h")
    return expanded


def _declared_pool(name: str, topology: Topology) -> Pool:
    if name in topology.pools:
        return topology.pools[name]
    if not topology.pools:
        raise TopologyError(f"unknown pool {name!r}: no pools are declared in the routing file")
    known = ", ".join(topology.pools)
    raise TopologyError(f"unknown pool {name!r}; there are {known}{did_you_mean(name, topology.pools)}")


def _queues(requested: Requested, declared: Pool | None, topology: Topology) -> tuple[tuple[str, int], ...]:
    weights: Mapping[str, int] = declared.queues if declared else dict.fromkeys(topology.queues, 1)
    chosen = list(dict.fromkeys(requested.queues)) or list(weights)
    for name in (*chosen, *requested.exclude):
        if name not in topology.queues and not topology.open:
            known = ", ".join(topology.queues)
            raise TopologyError(f"unknown queue {name!r}; there are {known}{did_you_mean(name, topology.queues)}")
    left = tuple((name, weights.get(name, 1)) for name in chosen if name not in requested.exclude)
    if not left:
        raise ConfigError("no queue is left to consume: -X excludes all of them")
    return left


def _check_pool(pool: str) -> None:
    if pool == "eventlet":
        raise ConfigError("the eventlet pool is not offered: eventlet is retired; use -P gevent, asyncio or threads")
    known = pools.names()
    if pool not in known:
        raise ConfigError(f"unknown pool {pool!r}; there are {', '.join(known)}{did_you_mean(pool, known)}")


def _concurrency(pool: str, asked: int | None, setting: int | None) -> int:
    if pool == "solo":
        if asked not in (None, 1):
            raise ConfigError(f"the solo pool runs one task at a time; concurrency {asked} is not possible")
        return 1
    value = asked or setting or default_concurrency(pool)
    if not 1 <= value <= MAX_CONCURRENCY:
        raise ConfigError(f"concurrency {value} is not possible; it must be 1 to {MAX_CONCURRENCY}")
    return value


def _autoscale(pool: str, text: str) -> tuple[int, int]:
    """Most and fewest slots."""
    if pool == "solo":
        raise ConfigError("the solo pool runs one task at a time; worker_autoscale can't be used with it")
    return read_bounds(text)


def _prefetch(slots: int, settings: Settings) -> int | None:
    """Messages per queue as the settings say; None when they leave it to the queue."""
    if settings.worker_disable_prefetch:
        return slots
    if settings.worker_prefetch is not None or settings.worker_prefetch_multiplier is None:
        return settings.worker_prefetch
    return min(settings.worker_prefetch_multiplier * slots or MAX_CONCURRENCY, MAX_CONCURRENCY)
