"""Threads that run jobs one after the other, for pools in the worker's process. Owns their life."""

from __future__ import annotations

import threading
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Job, Outcome


class SlotThreads:
    """Daemon threads, so that a stuck task can't keep the process alive. Its methods are for one thread at a time.

    Args:
        enter, leave: called in each thread, first and last.
        call: runs a job.
        report: takes its outcome.
    """

    def __init__(
        self,
        enter: Callable[[], None],
        call: Callable[[Job], Outcome],
        report: Callable[[Outcome], None],
        leave: Callable[[], None],
    ) -> None:
        self._enter, self._call, self._report, self._leave = enter, call, report, leave
        self._work: SimpleQueue[Job | Callable[[], None] | None] = SimpleQueue()
        self._given_up: set[int] = set()
        self._numbers = count()
        self.count = 0
        """Threads there are, those left out that end after their job."""

    def start(self, threads: int) -> None:
        """This many more."""
        self.count += threads
        for _ in range(threads):
            name = f"amqtask-task-{next(self._numbers)}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def end(self, threads: int) -> None:
        """This many fewer: idle ones at once, others after their job."""
        self.count -= threads
        for _ in range(threads):
            self._work.put(None)

    def give_up(self, key: int) -> None:
        """The thread of this job may never come back; another one takes its place."""
        self._given_up.add(key)
        self.count -= 1
        self.start(1)

    def put(self, work: Job | Callable[[], None]) -> None:
        """Have an idle thread do this."""
        self._work.put(work)

    def _run(self) -> None:
        self._enter()
        while (work := self._work.get()) is not None:
            if callable(work):
                work()
                continue
            self._report(self._call(work))
            if work.key in self._given_up:
                self._given_up.discard(work.key)
                break
        self._leave()
