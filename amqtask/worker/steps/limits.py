"""The step that keeps the limits of tasks: time, rate, concurrency. Owns how they are tied to the worker.

Remote control finds them as ``engine.limits``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.limits.concurrency import ConcurrencyLimits
from amqtask.worker.limits.gate import LimitGate
from amqtask.worker.limits.rate import RateLimits
from amqtask.worker.limits.room import Room
from amqtask.worker.limits.time import TimeLimits
from amqtask.worker.limits.wiring import LimitHost
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.engine import Engine


class LimitsStep(Step):
    """Keeps limits; see the modules of :mod:`amqtask.worker.limits`.

    Attributes:
        time: time limits; :meth:`~amqtask.worker.limits.time.TimeLimits.set` changes those of a task.
        rate: rate limits; :meth:`~amqtask.worker.limits.rate.RateLimits.set` changes that of a task.
        concurrency: limits of concurrency.
    """

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        app, custody = worker.app, worker.custody
        host = LimitHost(
            worker.loop,
            lambda: worker.connection,
            worker.publisher,
            custody.readmit,
            lambda: worker.pool.size,
            custody.reserve,
        )
        self.time = TimeLimits(app.tasks, app.settings)
        self.rate = RateLimits(app.tasks, app.settings, host)
        self.concurrency = ConcurrencyLimits(app.tasks, host)
        custody.limits_of = self.time.of
        self._gate = gate = LimitGate(self.rate, self.concurrency, Room(worker.loop, worker.consumers).parked)
        custody.gates.append(gate)
        custody.observers.append(gate)
        worker.limits = self

    def stop(self, done: Callable[[], None]) -> None:
        """Give back what is not needed any more."""
        for station in (*self.rate.stations.values(), *self.concurrency):
            station.close()
        done()

    @property
    def parked(self) -> list[Delivery]:
        """What waits for a limit; it is not among ``custody.waiting``."""
        waiting = {delivery.key for delivery in self.worker.custody.waiting}
        return [delivery for delivery in self._gate.kept if delivery.key not in waiting]

    def describe(self) -> dict[str, dict[str, object]]:
        """Task -> what limits it, by the names of the options, and how many deliveries wait for it."""
        found = {
            name: {**self.time.describe(name), **self.concurrency.describe(name), **self.rate.describe(name)}
            for name in self.worker.app.tasks
        }
        return {name: limits for name, limits in found.items() if any(limits.values())}


STEP = LimitsStep
