"""The step that honours paused queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.control.pausing import Pausing
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.broker.interface import Connection
    from amqtask.worker.engine import Engine


class PausesStep(Step):
    """Asks the broker which queues are paused, and takes nothing from them."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self.pausing = Pausing(worker)
        worker.custody.gates.insert(0, self.pausing)

    def connected(self, connection: Connection) -> None:
        """Ask again: queues may have been paused or resumed meanwhile."""
        self.pausing.connected(connection)


STEP = PausesStep
