"""The step that ends a worker before the kernel does: ``worker_max_memory``. Owns when it looks, and at what point."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from amqtask.worker.health.watchdog import EXIT
from amqtask.worker.process.memory import family_memory, measurable
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker")

_EVERY = 2.0
"""Seconds between two looks at it."""

_FULL = 0.9
"""Share of the limit at which the worker ends: what runs may take some more until it has ended."""


class MemoryStep(Step):
    """At 90 % of the memory it may have, the worker takes no more tasks, lets running ones end and exits with 75."""

    @classmethod
    def wanted(cls, worker: Engine) -> bool:
        """Whether there is a limit that can be kept."""
        if worker.app.settings.worker_max_memory is None:
            return False
        if not measurable():
            logger.warning("worker_max_memory can't be kept: this system does not tell how much memory processes take")
            return False
        return True

    def start(self) -> None:
        """Look from now on."""
        self._look()

    def _look(self) -> None:
        limit = self.worker.app.settings.worker_max_memory
        assert limit is not None
        used = family_memory(os.getpid(), limit * _FULL)
        if used < limit * _FULL:
            self.worker.loop.call_later(_EVERY, self._look)
            return
        logger.warning(
            "Worker and children take %d MiB of the %d MiB they may have (worker_max_memory); ending warm",
            used // 1024,
            limit // 1024,
        )
        self.worker.leave(EXIT)


STEP = MemoryStep
