"""What the worker's own commands work with. Owns finding the parts that other steps may, or may not, have added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.worker.control.dispatch import Refused

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.control.registry import Panel
    from amqtask.wire.lamport import LamportClock
    from amqtask.worker.control.elections import Elections
    from amqtask.worker.control.pausing import Pausing
    from amqtask.worker.control.revokes import Revokes
    from amqtask.worker.engine import Engine


class WorkerPanel:
    """Implements :class:`amqtask.control.registry.Panel`.

    Attributes:
        revokes: what is revoked.
        pausing: which queues are paused.
        elections: held among workers.
    """

    def __init__(self, worker: Engine, revokes: Revokes, pausing: Pausing, elections: Elections) -> None:
        self.worker: Engine = worker
        self.clock: LamportClock = worker.clock
        self.app: Amqtask = worker.app
        self.hostname = worker.options.hostname
        self.revokes, self.pausing, self.elections = revokes, pausing, elections


def own(panel: Panel) -> WorkerPanel:
    """The panel of a worker, for commands that need more than those of users do."""
    assert isinstance(panel, WorkerPanel)
    return panel


def part(panel: Panel, name: str) -> Any:
    """A part that a step adds to the engine.

    Args:
        panel: of the worker.
        name: of the engine's attribute, maybe with another behind a dot.

    Raises:
        Refused: this worker does not have it.
    """
    found: Any = panel.worker
    for piece in name.split("."):
        found = getattr(found, piece, None)
    if found is None:
        raise Refused(f"this worker has no {name}")
    return found
