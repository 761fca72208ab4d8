"""Runs ``async def`` tasks on one event loop in the main thread, up to ``concurrency`` at once. Owns that loop.

Tasks that are plain functions go to a thread pool, so that they don't hold up the others. A coroutine that computes
for long does: use prefork for those. A cold end cancels what runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from amqtask.execution.executor import Executor
from amqtask.worker.pools._inbox import Inbox
from amqtask.worker.pools._inner_transport import HopTransport, States

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Job, Outcome
    from amqtask.worker.pools.base import PoolHost

_THREADS_MAX = 32
"""For plain functions."""


class AsyncioPool:
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    def __init__(self, host: PoolHost) -> None:
        self._host = host
        self._states = States()
        self._executor = Executor(host.app, host.hostname, host.log_results, report=self._states)
        self._gathered: deque[Job] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(min(_THREADS_MAX, host.concurrency), "amqtask-task", host.enter)
        self._busy = 0
        self._closed = self._terminated = self._released = False

    def prepare(self) -> None:
        """Make the event loop; nothing to fork."""
        self._loop = asyncio.new_event_loop()

    def start(self) -> None:
        """Be ready for outcomes."""
        transport = HopTransport(self._host)
        self._host.lend(transport)
        self._states.go_through(transport)
        self._outcomes: Inbox[Outcome] = Inbox(self._host.loop, self._report)

    def free(self) -> int:
        """How many more tasks may run at once."""
        return 0 if self._closed else self._host.concurrency - self._busy

    def submit(self, job: Job) -> None:
        """Gather it for :meth:`flush`."""
        self._busy += 1
        self._gathered.append(job)

    def flush(self) -> None:
        """Wake the event loop once for all gathered jobs."""
        if self._gathered:
            jobs, self._gathered = self._gathered, deque()
            self._on_loop(lambda: self._begin(jobs))

    def close(self) -> None:
        """Take no more jobs."""
        self._closed = True

    def terminate(self) -> None:
        """Cancel what runs; nothing is reported any more. Functions in threads run on, unheard."""
        self._closed = self._terminated = True
        self._on_loop(self._cancel)

    def run_main(self) -> None:
        """Run the event loop until released; user code can't end it."""
        asyncio.set_event_loop(self._loop)
        try:
            while not self._released:
                try:
                    self._loop.run_forever()
                except BaseException:  # SystemExit of a task that a task has made leaves the loop
                    logging.getLogger("amqtask.worker").exception("the event loop goes on")
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._wind_up()
            asyncio.set_event_loop(None)
            self._loop.close()

    def release_main(self) -> None:
        """Let :meth:`run_main` return; what still runs is cancelled."""
        self._released = True
        self._on_loop(self._loop.stop)

    # ---- on the event loop

    def _begin(self, jobs: deque[Job]) -> None:
        for job in jobs:
            if self._executor.is_async(job):
                self._start(job)
            else:
                self._threads.submit(self._run_in_thread, job)

    def _start(self, job: Job) -> None:
        task = self._loop.create_task(self._run(job))
        self._running.add(task)
        task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled() and not (self._terminated or self._released):
            # before its first step, by user code that cancels whatever it finds; one that has begun has an outcome
            self._start(job)

    async def _run(self, job: Job) -> None:
        self._outcomes.put(await self._executor.arun(job))

    def _run_in_thread(self, job: Job) -> None:
        self._outcomes.put(self._executor.run(job))

    def _cancel(self) -> None:
        for task in self._running:
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

    # ---- on the I/O thread

    def _on_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return  # run_main has returned and closed it

    def _report(self, outcomes: list[Outcome]) -> None:
        self._busy -= len(outcomes)
        if not self._terminated:
            self._states.flush()
            self._host.done(outcomes)


POOL = AsyncioPool
