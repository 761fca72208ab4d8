"""Runs jobs in threads of the worker's own process, one job per thread at a time. Owns how many threads there are.

For tasks that wait (HTTP, databases). A crash of native code takes the worker down. A thread can't be killed: limits
and revocations raise an exception in it, which waits until native code returns. A hard limit does not wait: the task
counts as ended, another thread takes the slot, and the worker asks for a fresh process.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from amqtask.worker.pools._in_process import InProcessPool
from amqtask.worker.pools._slot_threads import SlotThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Job
    from amqtask.worker.pools.base import PoolHost


class ThreadPool(InProcessPool):
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    def __init__(self, host: PoolHost) -> None:
        super().__init__(host)
        self._release = threading.Event()

    def start(self) -> None:
        """Start the threads."""
        super().start()
        self._threads = SlotThreads(self._host.enter, self._call, self._outcomes.put, self._executor.leave_thread)
        self._threads.start(self._size)

    def submit(self, job: Job) -> None:
        """Wake a thread with it."""
        self._runs.take(job)
        self._threads.put(job)

    def grow(self, slots: int) -> None:
        """More threads."""
        self._size += slots
        self._threads.start(slots)

    def shrink(self, slots: int) -> None:
        """Fewer threads; busy ones end after their task."""
        slots = min(slots, self._size - 1)
        self._size -= slots
        self._threads.end(slots)

    def info(self) -> dict[str, Any]:
        """As Celery names things."""
        return {**super().info(), "threads": self._threads.count}

    def close(self) -> None:
        """Each thread ends when it is idle."""
        if not self._closed:
            super().close()
            self._threads.end(self._threads.count)

    def terminate(self) -> None:
        """Ignore whatever comes from now on."""
        self.close()
        super().terminate()

    def run_main(self) -> None:
        """Wait; the main thread has nothing to do but signals."""
        self._release.wait()

    def release_main(self) -> None:
        """Let :meth:`run_main` return."""
        self._release.set()

    def _abandon(self, key: int) -> None:
        self._threads.give_up(key)

    def _echo(self, answer: Callable[[], None]) -> None:
        if self.free():
            self._threads.put(answer)
        else:
            answer()


POOL = ThreadPool
