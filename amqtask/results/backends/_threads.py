"""Threads that ask a store which may stay silent. Owns that the end of the program waits for none of them.

The standard library's are joined at exit, even by a program that was interrupted: it would go on for as long as a
driver waits for its server. What these do changes nothing in the store, so that nothing is lost with them.
"""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """Makes calls in a few threads, each made when there is something for it to do. Thread-safe, not fork-safe.

    Args:
        most: threads.
        name: of each.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._work = _Work()
        weakref.finalize(self, self._work.queue.put, None).atexit = False  # takes no lock: it may run anywhere

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As the standard library's.

        Raises:
            RuntimeError: it was shut down, or no thread can be made any more.
        """
        work, future = self._work, Future[T]()
        with work.lock:
            if work.ended:
                raise RuntimeError("these threads were shut down")
            if work.unfinished >= work.threads and work.threads < self._most:
                threading.Thread(target=work.run, name=self._name, daemon=True).start()
                work.threads += 1
            work.unfinished += 1
            work.queue.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 -- theirs
        """Let the threads end once all calls are made; waits for none."""
        self._work.end()


class _Work:
    """What the threads share. It does not know the executor, which goes when nobody uses it any more."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal's handler may ask in the middle of a submission
        self.queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self.threads = self.unfinished = 0
        self.ended = False

    def end(self) -> None:
        with self.lock:
            self.ended = True
            self.queue.put(None)

    def run(self) -> None:
        while (item := self.queue.get()) is not None:
            self._call(*item)
            del item
        self.queue.put(None)  # for the next thread

    def _call(self, future: Future[Any], call: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            self._finished()
            return
        try:
            result = call()
        except BaseException as error:  # whoever asked is told
            self._finished()
            future.set_exception(error)
        else:
            self._finished()
            future.set_result(result)

    def _finished(self) -> None:
        with self.lock:
            self.unfinished -= 1
