"""The step that keeps the limits of tasks. Owns how they are tied to the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.limits.limits import Limits
from amqtask.worker.limits.room import Room
from amqtask.worker.limits.wiring import LimitHost
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.engine import Engine


class LimitsStep(Step):
    """Keeps :attr:`limits`."""

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
        self.limits = Limits(app.tasks, app.settings, host, Room(worker.loop, worker.consumers).parked)
        custody.limits_of = self.limits.time.of
        custody.gates.append(self.limits.gate)
        custody.observers.append(self.limits.gate)

    def stop(self, done: Callable[[], None]) -> None:
        """Give back what is not needed any more."""
        self.limits.close()
        done()


STEP = LimitsStep
