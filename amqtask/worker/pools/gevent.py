"""Runs jobs in greenlets on the main thread, up to ``concurrency`` at once. Owns the way from and to gevent's hub.

For tasks that wait, written without ``async``. ``amqtask worker -P gevent`` patches the standard library before it
imports anything; whatever waits then lets others run. The I/O thread stays a real one. Tasks that are coroutines run in
a few real threads, for a thread has one asyncio loop at a time. Limits are thrown into the greenlet where it waits; one
that computes is interrupted by a signal.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import ConfigError
from amqtask.worker.pools._in_process import InProcessPool
from amqtask.worker.pools._windows import LoopWindow, MainThread, Stopped

try:
    import gevent
    from gevent import monkey
    from gevent.event import Event
    from gevent.threadpool import ThreadPool

    from amqtask.worker.pools._gevent_threads import Greenlets, RealThread
except ImportError:
    raise ConfigError("the gevent pool needs gevent: pip install 'amqtask[gevent]'") from None

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from amqtask.execution.job import Job
    from amqtask.worker.pools._windows import Stoppable
    from amqtask.worker.pools.base import PoolHost

_THREADS_MAX = 16
"""For coroutines."""

_LEAVE = 0.5
"""Seconds in which greenlets that were killed end their ``finally`` blocks."""


class GreenletWindow:
    """Of a function in a greenlet; see :mod:`amqtask.worker.pools._windows`."""

    def __init__(self, main: MainThread, on_hub: Callable[[Callable[[], None]], None]) -> None:
        self.began = 0.0
        self._main, self._on_hub = main, on_hub
        self._greenlet: Any = None
        self._error: type[BaseException] | None = None
        self._open = False

    def __enter__(self) -> None:
        self.began = clock.monotonic()
        self._greenlet = gevent.getcurrent()
        if self._error is Stopped:
            raise Stopped
        self._open = True

    def __exit__(self, *_: object) -> None:
        self._open = False

    def awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Just the coroutine; those have windows of another kind."""
        return coroutine

    def interrupt(self, error: type[BaseException]) -> None:
        """See :class:`~amqtask.worker.pools._windows.Stoppable`."""
        self._error = error
        self._on_hub(self._throw)

    def press(self) -> None:
        """The hub has not come to it: this greenlet, or another one, computes."""
        if self._error is not None and self._open:
            self._main.interrupt(self, self._error)

    def here(self) -> bool:
        """In the signal handler: is it this greenlet that the signal has interrupted?"""
        if not self._open or gevent.getcurrent() is not self._greenlet:
            return False
        self._error = None
        return True

    def _throw(self) -> None:
        error = self._error
        if error is not None and self._open:
            self._error = None
            self._greenlet.throw(error)


class GeventPool(InProcessPool):
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    new_thread = RealThread

    def __init__(self, host: PoolHost) -> None:
        super().__init__(host)
        self._calls: deque[Callable[[], object]] = deque()
        self.background = Greenlets(self._on_hub, self._tell)
        self._gathered: list[Job] = []
        self._greenlets: set[gevent.Greenlet[..., Any]] = set()
        self._waker: Any = None
        self._threads: ThreadPool | None = None
        self._released = Event()

    def prepare(self) -> None:
        """Look whether tasks that wait will let others run."""
        if not monkey.is_module_patched("socket"):
            logging.getLogger("amqtask.worker").warning(
                "gevent has not patched the standard library, so tasks that wait hold up each other; "
                "start the worker with -P gevent, or patch before anything else is imported"
            )

    def submit(self, job: Job) -> None:
        """Gather it for :meth:`flush`."""
        self._runs.take(job)
        self._gathered.append(job)

    def flush(self) -> None:
        """Wake the hub once for all gathered jobs."""
        if self._gathered:
            jobs, self._gathered = self._gathered, []
            self._on_hub(lambda: self._begin(jobs))

    def grow(self, slots: int) -> None:
        """More greenlets at once."""
        self._size += slots

    def shrink(self, slots: int) -> None:
        """Fewer greenlets at once; those that run go on."""
        self._size = max(1, self._size - slots)

    def terminate(self) -> None:
        """Kill what runs; nothing is reported any more."""
        super().terminate()
        self._on_hub(self._kill)

    def run_main(self) -> None:
        """Let greenlets run until released."""
        loop = gevent.get_hub().loop
        waker = loop.async_()
        waker.start(self._take_calls)
        self._waker = waker
        self._main.install()
        self._take_calls()
        self._released.wait()
        self._kill()
        gevent.joinall(list(self._greenlets), timeout=_LEAVE)
        self._main.uninstall()
        self._waker = None
        waker.stop()
        waker.close()

    def release_main(self) -> None:
        """Let :meth:`run_main` return; what still runs is killed."""
        self._on_hub(self._released.set)

    # ---- on the hub

    def _on_hub(self, call: Callable[[], object]) -> None:
        self._calls.append(call)
        if (waker := self._waker) is not None:
            waker.send()

    def _tell(self, call: Callable[[], object]) -> None:
        if monkey.is_module_patched("threading"):
            self._on_hub(call)
        else:
            call()  # what waits is a thread, and it may be the hub's

    def _take_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def _begin(self, jobs: list[Job]) -> None:
        for job in jobs:
            greenlet = gevent.spawn(self._run, job)
            self._greenlets.add(greenlet)
            greenlet.rawlink(self._greenlets.discard)

    def _run(self, job: Job) -> None:
        self._host.enter()
        if self._executor.is_async(job):
            self._threads = self._threads or ThreadPool(_THREADS_MAX)
            self._outcomes.put(self._threads.apply(self._call, (job,)))
        else:
            self._outcomes.put(self._call(job))

    def _kill(self) -> None:
        for greenlet in list(self._greenlets):
            greenlet.kill(block=False)

    # ---- slots

    def _new_window(self, job: Job) -> Stoppable:
        if self._executor.is_async(job):
            return LoopWindow(self._main)
        return GreenletWindow(self._main, self._on_hub)

    def _abandon(self, key: int) -> None:
        """There is nothing to replace: the fresh process will have a hub that is free."""

    def _echo(self, answer: Callable[[], None]) -> None:
        self._on_hub(answer)


POOL = GeventPool
