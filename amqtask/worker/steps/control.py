"""The step that listens to remote control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.control.client import names_of
from amqtask.wire.signing import Signer
from amqtask.worker.control.commands import load_commands
from amqtask.worker.control.dispatch import Dispatcher
from amqtask.worker.control.elections import Elections
from amqtask.worker.control.mailbox import Mailbox
from amqtask.worker.control.panel import WorkerPanel
from amqtask.worker.options import node_name
from amqtask.worker.steps.autoscale import AutoscaleStep
from amqtask.worker.steps.base import Step
from amqtask.worker.steps.limits import LimitsStep
from amqtask.worker.steps.pauses import PausesStep
from amqtask.worker.steps.revokes import RevokesStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Connection
    from amqtask.worker.engine import Engine


class ControlStep(Step):
    """Opens the worker's mailbox and answers what comes."""

    requires = (RevokesStep, PausesStep)

    @classmethod
    def wanted(cls, worker: Engine) -> bool:
        """Not with ``worker_enable_remote_control`` off."""
        return worker.app.settings.worker_enable_remote_control

    def start(self) -> None:
        """Put it together; the other steps exist now."""
        worker = self.worker
        load_commands()
        settings = worker.app.settings
        names = names_of(settings)
        revokes, pauses, limits = worker.step(RevokesStep), worker.step(PausesStep), worker.step(LimitsStep)
        assert revokes is not None
        assert pauses is not None
        assert limits is not None  # every worker has it
        panel = WorkerPanel(
            worker,
            revokes=revokes.revokes,
            pausing=pauses.pausing,
            elections=Elections(worker),
            limits=limits.limits,
            scaling=worker.step(AutoscaleStep),
        )
        dispatcher = Dispatcher(panel, names, settings.accept_content, Signer(settings))
        node = worker.options.hostname
        # nobody has chosen the default name, so nobody is misled when two workers have it; nor by a successor
        chosen = node != node_name(None, worker.options.pool_name) and worker.predecessor is None
        taken = worker.fail if chosen else None
        self._mailbox = Mailbox(worker.loop, node, names, dispatcher, worker.publisher, taken)

    def connected(self, connection: Connection) -> None:
        """Listen."""
        self._mailbox.connected(connection)

    def disconnected(self) -> None:
        """Nobody can be heard."""
        self._mailbox.disconnected()

    def stopping(self) -> None:
        """Running tasks can still be looked at and stopped, unless another process needs the name for itself."""
        if self.worker.successor is not None:
            self._mailbox.close()

    def stop(self, done: Callable[[], None]) -> None:
        """Nobody is heard any more."""
        self._mailbox.close()
        done()


STEP = ControlStep
