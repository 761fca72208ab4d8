"""Jobs that run in the worker's own process, their limits, and the ones that can't be stopped.

Owns the ledger of an in-process pool, on the I/O thread. A timer per job with limits looks when user code has begun;
at the soft limit it interrupts once. At the hard one the outcome is reported at once and the job is interrupted until
it ends; one that does not, because native code blocks its thread, is abandoned: its slot is given to another thread,
and the process asks to be replaced.
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from amqtask import clock
from amqtask.errors import SoftTimeLimitExceeded
from amqtask.execution.window import no_window
from amqtask.worker.pools._timed_out import timed_out
from amqtask.worker.pools._windows import Stopped
from amqtask.worker.pools.base import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.broker.interface import Loop
    from amqtask.execution.job import Job, Outcome
    from amqtask.execution.window import Window
    from amqtask.worker.pools._windows import Stoppable
    from amqtask.worker.pools.base import PoolHost

logger = logging.getLogger("amqtask.worker")

_PRESS = 0.1
"""Seconds that an event loop has for taking notice of an interruption; then something computes on it."""

_AGAIN = 0.25
"""Seconds between interruptions of a task that has to end: it may catch them, or hold one off in a ``finally``."""

_RESTART_AGAIN = 60.0
"""Seconds in which a fresh process should have taken over."""

GRACE = 1.0
"""Seconds in which user code that has to end does so; then its thread is abandoned."""


class Run:
    """One job in the pool.

    Attributes:
        job: what was submitted.
        window: where it may be interrupted.
        stopped: when it was told to end, monotonic; its outcome has been reported then. 0: it was not.
    """

    __slots__ = ("job", "soft_due", "stopped", "timer", "window")

    def __init__(self, job: Job, window: Stoppable) -> None:
        self.job, self.window = job, window
        self.stopped = 0.0
        self.soft_due = job.soft_time_limit is not None
        self.timer: object = None


class Abandon(Protocol):
    """What a pool does about a job that can't be stopped."""

    def __call__(self, key: int) -> None:
        """Give its slot to another thread; a loop that is shared has no other."""


class Runs:
    """See the module.

    Args:
        host: of the pool.
        new_window: for a job.
        abandon: see :class:`Abandon`; None when the job was not begun.
    """

    def __init__(self, host: PoolHost, new_window: Callable[[Job], Stoppable], abandon: Abandon) -> None:
        self._host, self._new_window, self._abandon = host, new_window, abandon
        self._runs: dict[int, Run] = {}
        self._restart_asked: float | None = None

    def __len__(self) -> int:
        """Slots taken."""
        return len(self._runs)

    def take(self, job: Job) -> None:
        """A job goes to its slot."""
        run = self._runs[job.key] = Run(job, self._new_window(job))
        if job.time_limit is not None or job.soft_time_limit is not None:
            self._watch(run)

    def window(self, job: Job) -> Window:
        """Of a job that was taken; from any thread."""
        run = self._runs.get(job.key)
        return no_window(job) if run is None else run.window

    def ended(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Slots report; returns what has to be reported still."""
        told = []
        for outcome in outcomes:
            run = self._runs.pop(outcome.key, None)
            if run is None:
                continue  # abandoned
            self._loop.cancel(run.timer)
            if not run.stopped:
                told.append(outcome)
        return told

    def running(self) -> list[Running]:
        """Jobs in user code."""
        now, wall, pid = clock.monotonic(), time.time(), os.getpid()
        return [
            Running(key, wall - (now - run.window.began), pid)
            for key, run in self._runs.items()
            if run.window.began and not run.stopped
        ]

    def stop(self, key: int, outcome: Outcome) -> bool:
        """Report this outcome now, and end the job."""
        run = self._runs.get(key)
        if run is None or run.stopped:
            return False
        self._loop.cancel(run.timer)
        run.stopped = clock.monotonic()
        # in the next turn: the caller may hold what a report changes
        self._loop.call_later(0, partial(self._host.done, [outcome]))
        self._insist(run)
        return True

    def restart(self, reason: str) -> None:
        """Ask for a fresh process, and again after a while if there is none by then."""
        now = clock.monotonic()
        if self._restart_asked is None or now - self._restart_asked >= _RESTART_AGAIN:
            self._restart_asked = now
            self._host.restart(reason)

    # ---- limits

    @property
    def _loop(self) -> Loop:
        return self._host.loop

    def _watch(self, run: Run) -> None:
        """Look again when a limit may have passed; a job that waits for its slot has begun no time yet."""
        hard, soft = run.job.time_limit, run.job.soft_time_limit
        began = run.window.began
        elapsed = clock.monotonic() - began if began else 0.0
        if hard is not None and elapsed >= hard:
            self.stop(run.job.key, timed_out(run.job, elapsed))
            return
        if run.soft_due and soft is not None and elapsed >= soft:
            run.soft_due = False
            name, task_id = run.job.headers.get("task"), run.job.headers.get("id")
            logger.warning("Task %s[%s]: soft time limit of %gs passed", name, task_id, soft)
            self._interrupt(run, SoftTimeLimitExceeded)
        left = [limit - elapsed for limit in (hard, soft if run.soft_due else None) if limit is not None]
        if left:
            run.timer = self._loop.call_later(max(0.001, min(left)), partial(self._watch, run))

    def _interrupt(self, run: Run, error: type[BaseException]) -> None:
        run.window.interrupt(error)
        self._loop.call_later(_PRESS, run.window.press)

    def _insist(self, run: Run) -> None:
        key = run.job.key
        if self._runs.get(key) is not run:
            return
        if clock.monotonic() - run.stopped < GRACE or not run.window.began:
            self._interrupt(run, Stopped)
            self._loop.call_later(_AGAIN, partial(self._insist, run))
            return
        del self._runs[key]
        name, task_id = run.job.headers.get("task"), run.job.headers.get("id")
        logger.error("Task %s[%s] does not end and blocks its thread, which is given up", name, task_id)
        self._abandon(key)
        self.restart(f"task {name}[{task_id}] was stopped and goes on in its thread")
        self._host.done(())  # there is room again
