"""The step that lets the number of slots follow the load. Owns what the rule is told and what becomes of its answer.

Queues are looked at only while all slots are busy and there may be more: otherwise nothing waits in them.
"""

from __future__ import annotations

import logging
import pkgutil
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import ConfigError
from amqtask.worker.autoscaling import Load
from amqtask.worker.bounds import read_bounds
from amqtask.worker.custody.gates import Observer
from amqtask.worker.looks import Look, QueueLooks
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.execution.job import Outcome
    from amqtask.worker.autoscaling import Autoscaler
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker")

_INTERVAL = 1.0
"""Seconds between two decisions."""

_LOOK = 5.0
"""Least seconds between two looks at the queues."""


class AutoscaleStep(Step):
    """Asks the class that ``worker_autoscaler`` names each second; ``worker_autoscale`` has its bounds."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        conf = worker.app.settings
        assert conf.worker_autoscale is not None
        self._scaler = _load(conf.worker_autoscaler)(*read_bounds(conf.worker_autoscale))
        self._looks = QueueLooks(lambda: worker.connection)
        self._looked = 0.0
        self._queued: int | None = None
        self._begun = self._ending = False
        worker.custody.observers.append(_RunTimes(self._scaler))

    @classmethod
    def wanted(cls, worker: Engine) -> bool:
        """With ``worker_autoscale`` only."""
        return worker.app.settings.worker_autoscale is not None

    def ready(self) -> None:
        """Decide from now on."""
        if not self._begun:
            self._begun = True
            self.worker.loop.call_later(_INTERVAL, self._decide)

    def stopping(self) -> None:
        """Slots end by themselves now."""
        self._ending = True

    def update(self, most: int | None, fewest: int | None) -> tuple[int, int]:
        """Change the bounds; None keeps one. Slots follow within a second.

        Returns:
            Most and fewest from now on.

        Raises:
            ValueError: the fewest would be more than the most.
        """
        scaler = self._scaler
        most = scaler.most if most is None else most
        fewest = scaler.fewest if fewest is None else max(1, fewest)
        if fewest > most:
            raise ValueError(f"at least {fewest} and at most {most} slots is not possible")
        scaler.most, scaler.fewest = most, fewest
        return most, fewest

    def info(self) -> dict[str, int]:
        """As Celery's ``stats`` has it; ``qty`` counts tasks that run or wait here."""
        custody = self.worker.custody
        held = len(custody.running) + len(custody.waiting)
        return {"max": self._scaler.most, "min": self._scaler.fewest, "current": self.worker.pool.size, "qty": held}

    def _decide(self) -> None:
        if self._ending:
            return
        worker, custody = self.worker, self.worker.custody
        worker.loop.call_later(_INTERVAL, self._decide)
        slots = worker.pool.size
        busy = min(slots, len(custody.running))
        now = clock.monotonic()
        if busy < slots or custody.paused:
            self._queued = 0  # a free slot would have taken what waits
        elif now - self._looked >= _LOOK and slots < self._scaler.most:
            self._looked = now
            self._looks.look(list(worker.consumers.consumed), self._seen)
        waiting = 0 if custody.paused else len(custody.waiting)
        change = self._scaler.change(Load(now, slots, busy, custody.counts.received, waiting, self._queued))
        self._queued = None
        if not change:
            return
        if change > 0:
            worker.pool.grow(change)
        else:
            worker.pool.shrink(-change)
        worker.resized()
        logger.info("Autoscale: %d slots instead of %d, of which %d are busy", slots + change, slots, busy)

    def _seen(self, found: dict[str, Look], _problem: str) -> None:
        self._queued = sum(look.messages for look in found.values())


class _RunTimes(Observer):
    """Tells the rule how long tasks take."""

    def __init__(self, scaler: Autoscaler) -> None:
        self._scaler = scaler

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: ARG002 -- as Observer says
        """Refused ones say nothing about run times."""
        if outcome.runtime > 0:
            self._scaler.ended(outcome.runtime)


def _load(path: str) -> Any:
    """The class that ``worker_autoscaler`` names."""
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"worker_autoscaler {path!r} can't be used: {error}") from None


STEP = AutoscaleStep
