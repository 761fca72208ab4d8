"""Ends single jobs of prefork children: those over a limit, and those that somebody wants stopped.

Owns what is done about them; when is the watch's business. A job that is to be stopped at once is reported at once,
and its child is killed: it can't go on to another job meanwhile (:mod:`.cells`). The other jobs of that child
go elsewhere when it is dead.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Protocol

from amqtask import clock
from amqtask.worker.pools._timed_out import timed_out
from amqtask.worker.pools.prefork.slot import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Outcome
    from amqtask.worker.pools.prefork.cells import Cells
    from amqtask.worker.pools.prefork.server import ForkServer
    from amqtask.worker.pools.prefork.slot import Slot

NUDGE = signal.SIGURG
"""To a child: look whether the running job is to be interrupted, and give back those behind it. Nobody else uses this
signal, and it does no harm unasked."""


class Killer(Protocol):
    """What is asked of the crew."""

    def kill(self, slot: Slot, reason: str) -> None:
        """Have the slot's child killed."""


class Stops:
    """Implements :class:`amqtask.worker.pools.prefork.watch.Actions`. Lives on the I/O thread.

    Args:
        cells: shared with the children.
        server: sends signals to children.
        crew: kills and replaces them.
        ended: takes the outcome of a job that was in this slot.
    """

    def __init__(self, cells: Cells, server: ForkServer, crew: Killer, ended: Callable[[Slot, Outcome], None]) -> None:
        self._cells, self._server, self._crew, self._ended = cells, server, crew, ended

    def running(self, slot: Slot) -> tuple[int, float] | None:
        """What the slot's child runs, and since when."""
        return self._cells.started(slot.number)

    def moved(self, slot: Slot) -> float:
        """When the slot's child last began or ended a job."""
        return self._cells.moved(slot.number)

    def kill(self, slot: Slot, reason: str) -> None:
        """The child is no good."""
        self._crew.kill(slot, reason)

    def soften(self, slot: Slot, key: int) -> None:
        """The soft limit of a job has passed."""
        self._cells.interrupt(slot.number, key)
        self._server.signal(slot.number, NUDGE)

    def relieve(self, slot: Slot) -> None:
        """The running job takes long, and others wait behind it: have them back."""
        self._server.signal(slot.number, NUDGE)

    def time_out(self, slot: Slot, key: int) -> None:
        """The hard limit of a job has passed."""
        running = self._cells.started(slot.number)
        if running is None or not self._cells.condemn(slot.number, key):
            return  # it has ended just in time
        job = slot.take(key)
        assert job is not None
        self._crew.kill(slot, "its task ran over the time limit")
        self._ended(slot, timed_out(job, clock.monotonic() - running[1]))

    def ask(self, slot: Slot, number: int, outcome: Outcome) -> None:
        """Stop the job of this outcome, now or as soon as it begins."""
        slot.stops[outcome.key] = Stop(number, outcome)
        if self._cells.running(slot.number) == outcome.key:
            self.stop(slot, outcome.key)

    def stop(self, slot: Slot, key: int) -> None:
        """A job that has to be stopped runs, or has not obeyed in time."""
        stop = slot.stops[key]
        if stop.number == signal.SIGUSR1:  # as Celery's users know it; a child writes its stacks at this signal
            stop.sent = clock.monotonic()
            self.soften(slot, key)
        elif not self._cells.condemn(slot.number, key):
            return  # it has ended; its outcome is on its way
        elif stop.number == signal.SIGKILL or stop.sent is not None:
            slot.take(key)
            self._crew.kill(slot, "its task was stopped")
            self._ended(slot, stop.outcome)
        else:
            stop.sent = clock.monotonic()
            self._server.signal(slot.number, stop.number)

    def instead(self, slot: Slot, outcome: Outcome) -> Outcome:
        """What to report of a job that has ended by itself: this, or what :meth:`ask` was told."""
        stop = slot.stops.pop(outcome.key, None)
        if self._cells.condemned(slot.number) == outcome.key:
            self._cells.pardon(slot.number)
        return outcome if stop is None else stop.outcome


def signal_number(name: str) -> int | None:
    """The number of a signal, with or without its ``SIG``; None when there is none of that name."""
    upper = name.upper()
    found = getattr(signal.Signals, upper if upper.startswith("SIG") else f"SIG{upper}", None)
    return None if found is None else int(found)
