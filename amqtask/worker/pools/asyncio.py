"""Runs ``async def`` tasks on one event loop in the main thread, up to ``concurrency`` at once. Owns that loop.

Tasks that are plain functions go to threads, so that they don't hold up the others. A coroutine that computes for long
does: use prefork for those. Limits raise where a coroutine waits; one that computes is interrupted by a signal. A cold
end cancels what runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from amqtask.worker.pools._in_process import InProcessPool, unended
from amqtask.worker.pools._slot_threads import SlotThreads

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Job
    from amqtask.worker.pools.base import PoolHost

_THREADS_MAX = 32
"""For plain functions."""


class AsyncioPool(InProcessPool):
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    def __init__(self, host: PoolHost) -> None:
        super().__init__(host)
        self._gathered: deque[Job] = deque()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._released = False

    def prepare(self) -> None:
        """Make the event loop; nothing to fork."""
        self._loop = asyncio.new_event_loop()

    def start(self) -> None:
        """Be ready for jobs; threads are started when there are plain functions to run."""
        super().start()
        self._threads = SlotThreads(self._host.enter, self._call, self._outcomes.put, self._executor.leave_thread)

    def submit(self, job: Job) -> None:
        """Gather it for :meth:`flush`; plain functions go to a thread."""
        self._runs.take(job)
        if self._executor.is_async(job):
            self._gathered.append(job)
            return
        if self._threads.count < min(_THREADS_MAX, self._size):
            self._threads.start(1)
        self._threads.put(job)

    def flush(self) -> None:
        """Wake the event loop once for all gathered jobs."""
        if self._gathered:
            jobs, self._gathered = self._gathered, deque()
            self._on_loop(lambda: self._begin(jobs))

    def grow(self, slots: int) -> None:
        """More tasks at once."""
        self._size += slots

    def shrink(self, slots: int) -> None:
        """Fewer tasks at once; those that run go on."""
        self._size = max(1, self._size - slots)
        if (idle := self._threads.count - self._size) > 0:
            self._threads.end(idle)

    def close(self) -> None:
        """Take no more jobs; idle threads end."""
        if not self._closed:
            super().close()
            self._threads.end(self._threads.count)

    def terminate(self) -> None:
        """Cancel what runs; nothing is reported any more. Functions in threads run on, unheard."""
        self.close()
        super().terminate()
        self._on_loop(self._cancel)

    def run_main(self) -> None:
        """Run the event loop until released; user code can't end it."""
        asyncio.set_event_loop(self._loop)
        self._main.install()
        try:
            while not self._released:
                try:
                    self._loop.run_forever()
                except BaseException:  # SystemExit of a task that a task has made leaves the loop
                    logging.getLogger("amqtask.worker").exception("the event loop goes on")
        finally:
            self._wind_up()
            self._main.uninstall()
            asyncio.set_event_loop(None)
            self._loop.close()

    def release_main(self) -> None:
        """Let :meth:`run_main` return; what still runs is cancelled."""
        self._released = True
        self._on_loop(self._loop.stop)

    # ---- on the event loop

    def _begin(self, jobs: deque[Job]) -> None:
        for job in jobs:
            self._start(job)

    def _start(self, job: Job) -> None:
        task = self._tasks[job.key] = self._loop.create_task(self._run(job))
        task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._tasks.pop(job.key, None)
        if task.cancelled() and not (self._terminated or self._released):
            # before its first step, by user code that cancels whatever it finds; one that has begun has an outcome
            self._start(job)

    async def _run(self, job: Job) -> None:
        try:
            outcome = await self._executor.arun(job)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # an interruption that hit the last steps out of user code
            outcome = unended(job, error)
        self._outcomes.put(outcome)

    def _cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _wind_up(self) -> None:
        """Let cancelled tasks end their ``finally`` blocks."""
        self._cancel()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    # ---- slots

    def _abandon(self, key: int) -> None:
        if key not in self._tasks:
            self._threads.give_up(key)

    def _echo(self, answer: Callable[[], None]) -> None:
        self._on_loop(answer)

    def _on_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return  # run_main has returned and closed it


POOL = AsyncioPool
