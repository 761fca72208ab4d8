"""The step that keeps revoked tasks from running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.control.revokes import Revokes
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.broker.interface import Connection
    from amqtask.worker.engine import Engine


class RevokesStep(Step):
    """Reads what the broker keeps of revocations, and asks about each delivery."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self.revokes = Revokes(worker)
        worker.custody.gates.insert(0, self.revokes)

    def connected(self, connection: Connection) -> None:
        """Read them again: some may have come meanwhile."""
        self.revokes.connected(connection)

    def disconnected(self) -> None:
        """Nothing can be read."""
        self.revokes.disconnected()

    def stopping(self) -> None:
        """What only this worker knows is noted for those that come."""
        self.revokes.keep()


STEP = RevokesStep
