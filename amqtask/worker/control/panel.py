"""What the worker's own commands work with. Owns the parts of a worker that they ask and change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.control.registry import Panel
    from amqtask.wire.lamport import LamportClock
    from amqtask.worker.control.elections import Elections
    from amqtask.worker.control.pausing import Pausing
    from amqtask.worker.control.revokes import Revokes
    from amqtask.worker.engine import Engine
    from amqtask.worker.limits.limits import Limits


class Scaling(Protocol):
    """What is asked of autoscaling; see :class:`amqtask.worker.steps.autoscale.AutoscaleStep`."""

    def update(self, most: int | None, fewest: int | None) -> tuple[int, int]: ...  # noqa: D102
    def info(self) -> dict[str, int]: ...  # noqa: D102


class WorkerPanel:
    """Implements :class:`amqtask.control.registry.Panel`.

    Attributes:
        revokes: what is revoked.
        pausing: which queues are paused.
        elections: held among workers.
        limits: of tasks.
        scaling: changes the number of slots; None without ``worker_autoscale``.
    """

    def __init__(
        self,
        worker: Engine,
        *,
        revokes: Revokes,
        pausing: Pausing,
        elections: Elections,
        limits: Limits,
        scaling: Scaling | None,
    ) -> None:
        self.worker: Engine = worker
        self.clock: LamportClock = worker.clock
        self.app: Amqtask = worker.app
        self.hostname = worker.options.hostname
        self.revokes, self.pausing, self.elections = revokes, pausing, elections
        self.limits, self.scaling = limits, scaling


def own(panel: Panel) -> WorkerPanel:
    """The panel of a worker, for commands that need more than those of users do."""
    assert isinstance(panel, WorkerPanel)
    return panel
