"""What there is to run for an app: its workers and its scheduler, before any format. Owns the reading of the app."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.cli.exits import CONFIG, REFUSED, USAGE
from amqtask.cli.workers import ONLY_WORKER, pool_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.app.app import Amqtask

HEALTH_PORT = 8080
"""Where processes answer health checks in containers."""

MARGIN = 5
"""Seconds between the end of the grace time and the moment the supervisor kills."""

FINAL = (USAGE, REFUSED, CONFIG)
"""Exit codes after which a restart would end the same way."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One kind of process.

    Attributes:
        name: of the pool, ``worker``, or ``beat``.
        words: after ``amqtask``.
        queues: it consumes.
    """

    name: str
    words: tuple[str, ...]
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an app needs running.

    Attributes:
        name: of the app, fit for names of units and services.
        path: what ``-A`` says of it.
        workers: one per pool of the routing file, or one for all queues.
        beat: the scheduler, if the app has a schedule.
        grace: whole seconds from the first signal to the kill.
    """

    name: str
    path: str
    workers: Sequence[Unit]
    beat: Unit | None
    grace: int

    @property
    def units(self) -> list[Unit]:
        """Workers and scheduler."""
        return [*self.workers, *([self.beat] if self.beat else [])]


def plan(app: Amqtask, path: str) -> Plan:
    """Read what an app needs.

    Args:
        app: loaded.
        path: what ``-A`` says of it.
    """
    pools, words = app.topology.pools, pool_words(app)
    workers = [Unit(name, ("worker", "-A", path, *words[name]), tuple(pool.queues)) for name, pool in pools.items()]
    if not workers:
        alone = ("worker", "-A", path, "-n", "worker@%h", *words[ONLY_WORKER])
        workers = [Unit(ONLY_WORKER, alone, tuple(app.topology.queues))]
    scheduled = bool(app.periodic_tasks() or app.settings.beat_schedule_store)
    return Plan(
        re.sub(r"[^a-z0-9]+", "-", app.main.lower()).strip("-") or "app",
        path,
        workers,
        Unit("beat", ("beat", "-A", path)) if scheduled else None,
        round(app.settings.worker_shutdown_timeout + MARGIN + 0.5),
    )
