"""Runs jobs one after the other on the main thread. Owns the hand-over to it.

For debugging (breakpoints work) and for code that insists on the main thread. The connection lives on the I/O thread,
so heartbeats go on while a task runs. Limits interrupt it by a signal, waiting system calls included; native code that
takes no notice holds the only slot until the fresh process is there that the worker asks for.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.worker.pools._in_process import InProcessPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Job, Outcome
    from amqtask.worker.pools.base import PoolHost


class SoloPool(InProcessPool):
    """See :class:`~amqtask.worker.pools.base.Pool`; there is one slot whatever was asked for."""

    def __init__(self, host: PoolHost) -> None:
        super().__init__(host)
        self._size = 1
        self._jobs: SimpleQueue[Job | Callable[[], None] | None] = SimpleQueue()
        self._stuck: int | None = None

    def free(self) -> int:
        """1 while the main thread is idle."""
        return super().free() if self._stuck is None else 0

    def submit(self, job: Job) -> None:
        """Wake the main thread with it."""
        self._runs.take(job)
        self._jobs.put(job)

    def grow(self, slots: int) -> None:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"the solo pool has one slot; {slots} more can't be added")

    def shrink(self, slots: int) -> None:
        """Nothing: one slot is the least."""

    def info(self) -> dict[str, Any]:
        """As Celery names things."""
        return {**super().info(), "put-guarded-by-semaphore": True, "max-tasks-per-child": None, "timeouts": []}

    def run_main(self) -> None:
        """Run the jobs, until released."""
        self._main.install()
        while (work := self._jobs.get()) is not None:
            if callable(work):
                work()
                continue
            self._host.enter()  # not before the first job: start() may come later than this thread
            self._outcomes.put(self._call(work))
        self._executor.leave_thread()
        self._main.uninstall()

    def release_main(self) -> None:
        """Let :meth:`run_main` return, after the running job."""
        self._jobs.put(None)

    def _report(self, outcomes: list[Outcome]) -> None:
        if any(outcome.key == self._stuck for outcome in outcomes):
            self._stuck = None
        super()._report(outcomes)

    def _abandon(self, key: int) -> None:
        self._stuck = key

    def _echo(self, answer: Callable[[], None]) -> None:
        if self.free():
            self._jobs.put(answer)
        else:
            answer()


POOL = SoloPool
