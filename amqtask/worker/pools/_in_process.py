"""What pools have in common that run user code in the worker's own process. Owns the way in and out of their slots.

A pool of this kind adds where its slots are: threads, an event loop, the main thread, greenlets.
"""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind, Outcome
from amqtask.results.trimming import describe
from amqtask.worker.pools._inbox import Inbox
from amqtask.worker.pools._inner_transport import HopTransport, States
from amqtask.worker.pools._runs import Runs
from amqtask.worker.pools._windows import LoopWindow, MainThread, ThreadWindow
from amqtask.worker.pools.base import Pool
from amqtask.worker.process.memory import own_resident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.execution.job import Job
    from amqtask.worker.pools._windows import Stoppable
    from amqtask.worker.pools.base import PoolHost, Running

logger = logging.getLogger("amqtask.worker")

_MEMORY_CHECK = 1.0
"""Least seconds between two looks at the process's memory."""


class InProcessPool(Pool):
    """See :class:`~amqtask.worker.pools.base.Pool`. Everything is called on the I/O thread unless said otherwise."""

    def __init__(self, host: PoolHost) -> None:
        super().__init__(host)
        self._size = host.concurrency
        self._states, self._main = States(), MainThread()
        self._runs = Runs(host, self._new_window, self._abandon)
        self._executor = Executor(
            host.app, host.hostname, host.log_results, report=self._states, window=self._runs.window
        )
        self._closed = self._terminated = False
        self._memory_max = host.app.settings.worker_max_memory_per_child
        self._memory_seen = 0.0

    def start(self) -> None:
        """Be ready for jobs."""
        transport = HopTransport(self._host, self._tell)
        self._host.lend(transport)
        self._states.go_through(transport)
        self._outcomes: Inbox[Outcome] = Inbox(self._host.loop, self._report)

    def free(self) -> int:
        """Slots that are idle."""
        return 0 if self._closed else max(0, self._size - len(self._runs))

    @property
    def size(self) -> int:
        """Slots there are."""
        return self._size

    def running(self) -> Sequence[Running]:
        """Jobs in user code."""
        return self._runs.running()

    def stop_job(self, key: int, signal: str, outcome: Outcome) -> bool:  # noqa: ARG002 -- there is no process to get it
        """Interrupt it; its outcome is reported at once, and a thread that does not end is given up."""
        return self._runs.stop(key, outcome)

    def info(self) -> dict[str, Any]:
        """As Celery names things."""
        return {**super().info(), "processes": [os.getpid()]}

    def ping(self, done: Callable[[bool], None]) -> None:
        """Ask what dispatches to slots."""
        loop, open_ = self._host.loop, [True]

        def answer(answered: bool) -> None:
            if open_:
                open_.clear()
                loop.cancel(timer)
                done(answered)

        timer = loop.call_later(self._host.app.settings.worker_proc_alive_timeout, partial(answer, False))
        self._echo(lambda: loop.call_soon_threadsafe(partial(answer, True)))

    def close(self) -> None:
        """Take no more jobs."""
        self._closed = True

    def terminate(self) -> None:
        """Ignore whatever comes from now on."""
        self._closed = self._terminated = True

    # ---- what a pool adds

    def _tell(self, call: Callable[[], object]) -> None:
        """Call what ends the wait of user code, where that may be done."""
        call()

    @abstractmethod
    def _abandon(self, key: int) -> None:
        """The slot of this job is lost; see :class:`~amqtask.worker.pools._runs.Runs`."""

    @abstractmethod
    def _echo(self, answer: Callable[[], None]) -> None:
        """Have an idle slot, or what dispatches to slots, call this; at once when all slots are busy."""

    # ---- in slots

    def _new_window(self, job: Job) -> Stoppable:
        return LoopWindow(self._main) if self._executor.is_async(job) else ThreadWindow(self._main)

    def _call(self, job: Job) -> Outcome:
        """Run the job on this thread."""
        window = self._runs.window(job)
        try:
            return self._executor.run(job)
        except BaseException as error:  # an interruption that hit the last steps out of user code
            return unended(job, error)
        finally:
            window.__exit__()  # left already, unless that was interrupted

    # ---- outcomes

    def _report(self, outcomes: list[Outcome]) -> None:
        told = self._runs.ended(outcomes)
        if not self._terminated:
            self._states.flush()
            self._host.done(told)
            self._look_at_memory()

    def _look_at_memory(self) -> None:
        now = clock.monotonic()
        if self._memory_max is None or now - self._memory_seen < _MEMORY_CHECK:
            return
        self._memory_seen = now
        resident = own_resident()
        if resident > self._memory_max:
            self._runs.restart(f"{resident} KiB of memory are more than worker_max_memory_per_child")


def unended(job: Job, error: BaseException) -> Outcome:
    """The outcome of a job of which the executor could not say it."""
    text = f"{type(error).__name__} ended the task from outside"
    return Outcome(job.key, Kind.FAILED, text=text, error=describe(error))
