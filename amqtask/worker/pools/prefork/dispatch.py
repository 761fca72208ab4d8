"""Which child gets which job, and what waits until one is idle. Owns that choice, and the count of what is free.

A child gets one job at a time, several only when all of them are of tasks known to be short.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from amqtask.worker.pools.prefork.run_times import SHORT, WINDOW, RunTimes
from amqtask.worker.pools.prefork.watch import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amqtask.execution.job import Job
    from amqtask.worker.pools.prefork.slot import Slot
    from amqtask.worker.pools.prefork.watch import Watch


class Crew(Protocol):
    """Of the children; see :mod:`.crew`."""

    slots: list[Slot]

    def retire(self, slot: Slot, reason: str) -> None:
        """Replace a child."""

    def idle(self, slot: Slot) -> None:
        """A child may have ended its last job."""


class Dispatch:
    """Lives on the I/O thread.

    Args:
        crew: whose children get the jobs.
        watch: is told that a child has a job.
        refuse: (key, reason) of a job that can't be handed over.
        fair: no child ever gets a second job.

    Attributes:
        pending: jobs that no child has.
        room: how many more jobs fit in.
    """

    def __init__(self, crew: Crew, watch: Watch, refuse: Callable[[int, str], None], *, fair: bool) -> None:
        self._crew, self._watch, self._refuse = crew, watch, refuse
        self.run_times = RunTimes(fair)
        self.pending: deque[Job] = deque()
        self.room = 0
        self._gathering: set[Slot] = set()
        self._calm = False

    def submit(self, job: Job) -> None:
        """Hand the job to a child, or keep it until one is idle when it is not known to be short."""
        if self.pending or not self._place(job):
            self.pending.append(job)

    def submit_first(self, jobs: Sequence[Job]) -> None:
        """Jobs that a child has given back: they come before all others."""
        self.pending.extendleft(reversed(jobs))

    def place_pending(self) -> None:
        """Hand over what waits, as far as there is room."""
        while self.pending and self._place(self.pending[0]):
            self.pending.popleft()
        self.flush()

    def flush(self) -> None:
        """Write the gathered jobs, one frame per child."""
        if not self._gathering:
            return
        gathering, self._gathering = self._gathering, set()
        refused = False
        for slot in gathering:
            for key, reason in slot.flush():
                refused = True
                slot.take(key)
                self._refuse(key, reason)
                self.freed(slot)
        if refused:  # no child will say that there is room
            self.place_pending()

    def freed(self, slot: Slot) -> None:
        """The slot has fewer jobs than before."""
        self.recount(slot)
        self._crew.idle(slot)

    def recount(self, slot: Slot) -> None:
        """Whether, or how many, jobs the slot takes may have changed."""
        room = slot.room(WINDOW if self._calm else 1)
        self.room += room - slot.counted
        slot.counted = room

    def observe(self, runs: Iterable[tuple[Job, float]]) -> None:
        """Take measured run times in seconds."""
        for job, runtime in runs:
            if runtime > 0:
                self.run_times.observe(_name(job), runtime)
        if self._calm is not self.run_times.calm:
            self._calm = self.run_times.calm
            for slot in self._crew.slots:
                self.recount(slot)

    def takes_long(self, slot: Slot) -> None:
        """The job that the slot's child runs turns out not to be short."""
        for job in slot.jobs.values():
            self.run_times.observe(_name(job), SHORT)
            break
        slot.slow_down()

    def withdraw(self, key: int) -> bool:
        """Forget a job that no child has; False when there is none of this key."""
        for job in self.pending:
            if job.key == key:
                self.pending.remove(job)
                return True
        return False

    def _place(self, job: Job) -> bool:
        short = self.run_times.is_short(_name(job))
        best: Slot | None = None
        most = 0
        for slot in self._crew.slots:
            if not slot.jobs:
                if slot.open:
                    best = slot
                    break
            elif short and slot.counted > most and slot.open:
                best, most = slot, slot.counted
        if best is None:
            return False
        best.give(job, short=short)
        limit = job.soft_time_limit or job.time_limit
        if len(best.jobs) == 2:  # noqa: PLR2004 -- the first one may turn out to be long
            self._watch.expect(best, LONG if limit is None else min(limit, LONG))
        elif limit is not None or best.look_at is None:
            self._watch.expect(best, limit)
        self._gathering.add(best)
        if best.left == 0:
            self._crew.retire(best, "it has had its share of tasks")
        self.recount(best)
        return True


def _name(job: Job) -> str:
    """Of the task; empty for messages of other clients that say it elsewhere, or not at all."""
    name = job.headers.get("task")
    return name if isinstance(name, str) else ""
