"""All limits of one worker's tasks: time, rate, concurrency. Owns that they are one gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.worker.limits.concurrency import ConcurrencyLimits
from amqtask.worker.limits.gate import LimitGate
from amqtask.worker.limits.rate import RateLimits
from amqtask.worker.limits.time import TimeLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from amqtask.config.settings import Settings
    from amqtask.tasks.task import Task
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.limits.wiring import LimitHost


class Limits:
    """See the modules beside this one. Lives on the I/O thread.

    Args:
        tasks: of the app.
        settings: of the app.
        host: the worker.
        parked: see :class:`~amqtask.worker.limits.gate.LimitGate`.

    Attributes:
        time: time limits; :meth:`~amqtask.worker.limits.time.TimeLimits.set` changes those of a task.
        rate: rate limits; :meth:`~amqtask.worker.limits.rate.RateLimits.set` changes that of a task.
        concurrency: limits of concurrency.
        gate: keeps back what has to wait for a rate or for concurrency; an observer too.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task[..., Any]],
        settings: Settings,
        host: LimitHost,
        parked: Callable[[str, int], None],
    ) -> None:
        self._tasks = tasks
        self.time = TimeLimits(tasks, settings)
        self.rate = RateLimits(tasks, settings, host)
        self.concurrency = ConcurrencyLimits(tasks, host)
        self.gate = LimitGate(self.rate, self.concurrency, parked)

    def parked(self, waiting: Iterable[Delivery]) -> list[Delivery]:
        """What waits for a limit and is not among these."""
        known = {delivery.key for delivery in waiting}
        return [delivery for delivery in self.gate.kept if delivery.key not in known]

    def describe(self) -> dict[str, dict[str, object]]:
        """Task -> what limits it, by the names of the options, and how many deliveries wait for it."""
        found = {
            name: {**self.time.describe(name), **self.concurrency.describe(name), **self.rate.describe(name)}
            for name in self._tasks
        }
        return {name: limits for name, limits in found.items() if any(limits.values())}

    def close(self) -> None:
        """Give back what is not needed any more."""
        for station in (*self.rate.stations.values(), *self.concurrency):
            station.close()
