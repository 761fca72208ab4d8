"""Runs jobs in threads of the worker's own process, one job per thread at a time. Owns the threads.

For tasks that wait (HTTP, databases). A crash of native code takes the worker down; threads can't be killed, so a cold
end leaves their jobs unsettled, and the broker delivers them again.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from amqtask.execution.executor import Executor
from amqtask.worker.pools._inbox import Inbox
from amqtask.worker.pools._inner_transport import HopTransport, States

if TYPE_CHECKING:
    from amqtask.execution.job import Job, Outcome
    from amqtask.worker.pools.base import PoolHost


class ThreadPool:
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    def __init__(self, host: PoolHost) -> None:
        self._host = host
        self._states = States()
        self._executor = Executor(host.app, host.hostname, host.log_results, report=self._states)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._busy = 0
        self._closed = self._terminated = False
        self._release = threading.Event()

    def prepare(self) -> None:
        """Nothing to fork."""

    def start(self) -> None:
        """Start the threads; they are daemons, so that a stuck task can't keep the process alive."""
        transport = HopTransport(self._host)
        self._host.lend(transport)
        self._states.go_through(transport)
        self._outcomes: Inbox[Outcome] = Inbox(self._host.loop, self._report)
        for number in range(self._host.concurrency):
            threading.Thread(target=self._work, name=f"amqtask-task-{number}", daemon=True).start()

    def free(self) -> int:
        """Idle threads."""
        return 0 if self._closed else self._host.concurrency - self._busy

    def submit(self, job: Job) -> None:
        """Wake a thread with it."""
        self._busy += 1
        self._jobs.put(job)

    def flush(self) -> None:
        """Nothing is gathered."""

    def close(self) -> None:
        """Each thread ends when it is idle and has seen its share of Nones."""
        if not self._closed:
            self._closed = True
            for _ in range(self._host.concurrency):
                self._jobs.put(None)

    def terminate(self) -> None:
        """Ignore whatever comes from now on."""
        self.close()
        self._terminated = True

    def run_main(self) -> None:
        """Wait; the main thread has nothing to do but signals."""
        self._release.wait()

    def release_main(self) -> None:
        """Let :meth:`run_main` return."""
        self._release.set()

    def _work(self) -> None:
        self._host.enter()
        while (job := self._jobs.get()) is not None:
            self._outcomes.put(self._executor.run(job))
        self._executor.leave_thread()

    def _report(self, outcomes: list[Outcome]) -> None:
        self._busy -= len(outcomes)
        if not self._terminated:
            self._states.flush()
            self._host.done(outcomes)


POOL = ThreadPool
