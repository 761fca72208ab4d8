"""Runs jobs one after the other on the main thread. Owns the hand-over to it.

For debugging (breakpoints work) and for code that insists on the main thread. The connection lives on the I/O thread,
so heartbeats go on while a task runs.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING

from amqtask.execution.executor import Executor
from amqtask.worker.pools._inbox import Inbox
from amqtask.worker.pools._inner_transport import HopTransport, States

if TYPE_CHECKING:
    from amqtask.execution.job import Job, Outcome
    from amqtask.worker.pools.base import PoolHost


class SoloPool:
    """See :class:`~amqtask.worker.pools.base.Pool`; ``concurrency`` is 1 whatever was asked for."""

    def __init__(self, host: PoolHost) -> None:
        self._host = host
        self._states = States()
        self._executor = Executor(host.app, host.hostname, host.log_results, report=self._states)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._busy = 0
        self._closed = self._terminated = False

    def prepare(self) -> None:
        """Nothing to fork."""

    def start(self) -> None:
        """Be ready for outcomes."""
        transport = HopTransport(self._host)
        self._host.lend(transport)
        self._states.go_through(transport)
        self._outcomes: Inbox[Outcome] = Inbox(self._host.loop, self._report)

    def free(self) -> int:
        """1 while the main thread is idle."""
        return 0 if self._closed else 1 - self._busy

    def submit(self, job: Job) -> None:
        """Wake the main thread with it."""
        self._busy += 1
        self._jobs.put(job)

    def flush(self) -> None:
        """Nothing is gathered."""

    def close(self) -> None:
        """Take no more jobs."""
        self._closed = True

    def terminate(self) -> None:
        """Ignore whatever comes from now on; the running task can't be stopped but by the end of the process."""
        self._closed = self._terminated = True

    def run_main(self) -> None:
        """Run the jobs, until released."""
        while (job := self._jobs.get()) is not None:
            self._host.enter()  # not before the first job: start() may come later than this thread
            self._outcomes.put(self._executor.run(job))
        self._executor.leave_thread()

    def release_main(self) -> None:
        """Let :meth:`run_main` return, after the running job."""
        self._jobs.put(None)

    def _report(self, outcomes: list[Outcome]) -> None:
        self._busy -= len(outcomes)
        if not self._terminated:
            self._states.flush()
            self._host.done(outcomes)


POOL = SoloPool
