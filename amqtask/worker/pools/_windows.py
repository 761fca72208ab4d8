"""Where a running job may be interrupted from outside, and how: only inside user code, and never in the next job.

Owns one window per job. :class:`ThreadWindow` is for functions: CPython raises the exception in their thread between
two bytecodes, so not while native code runs; on the main thread a signal ends waiting system calls as well.
:class:`LoopWindow` is for coroutines: the exception is raised where they wait; one that computes is interrupted as
functions are.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, Self

from amqtask import clock, unpatched
from amqtask.execution.window import Window

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Coroutine

_SIGNAL = signal.SIGURG
"""What nobody uses and everybody ignores unless told otherwise."""

thread_ident = ctypes.pythonapi.PyThread_get_thread_ident
"""``threading.get_ident`` that stays what it is when gevent patches the latter."""
thread_ident.restype = ctypes.c_ulong
_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in.argtypes = (ctypes.c_ulong, ctypes.py_object)


class Stopped(BaseException):
    """Raised in user code that has to end now: the hard time limit has passed, or the task was revoked."""


class Stoppable(Window, Protocol):
    """The window of one job. ``began``: when user code was entered, monotonic; 0 before."""

    began: float

    def interrupt(self, error: type[BaseException]) -> object:
        """Any thread: raise this in user code as soon as that can be done; nothing when it has ended."""

    def press(self) -> None:
        """A moment later: if that was not done yet, because something computes, interrupt that."""


class Place(Protocol):
    """Some user code on the main thread."""

    def here(self) -> bool:
        """In the signal handler: is this what the signal has interrupted?"""


class MainThread:
    """Raises in the process's main thread, where a signal can wake user code even from waiting system calls."""

    def __init__(self) -> None:
        self._ident = 0
        self._due: deque[tuple[Place, type[BaseException]]] = deque()
        self._previous: Any = None

    def install(self) -> None:
        """On the thread that runs user code; without effect when it is not the main thread of the process."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(_SIGNAL, self._on_signal)
            self._ident = thread_ident()

    def uninstall(self) -> None:
        """At the end, on the same thread."""
        if self._ident:
            self._ident = 0
            signal.signal(_SIGNAL, self._previous)

    def owns(self, ident: int) -> bool:
        """Whether this thread can be reached by the signal."""
        return self._ident == ident != 0

    def interrupt(self, place: Place, error: type[BaseException]) -> None:
        """Any thread: raise this on the main thread, if it is there when it takes notice."""
        if ident := self._ident:
            self._due.append((place, error))
            signal.pthread_kill(ident, _SIGNAL)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        while self._due:
            place, error = self._due.popleft()
            if place.here():
                raise error


class ThreadWindow:
    """Of a function in a thread of the pool; entered around the call, in that thread.

    Args:
        main: of the pool.
    """

    __slots__ = ("_ident", "_lock", "_main", "_open", "_sent", "began", "pending")

    def __init__(self, main: MainThread) -> None:
        self._main, self._lock = main, unpatched.new_lock()
        self._ident, self._open, self._sent = 0, False, False
        self.began = 0.0
        self.pending: type[BaseException] | None = None
        """Raised at once when the window is entered: the job was stopped before."""

    def __enter__(self) -> Self:
        self._ident = thread_ident()
        self.began = self.began or clock.monotonic()
        if self.pending is not None:
            raise self.pending
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """In its thread: nothing is raised any more, not even what was on its way. May be called again."""
        with self._lock:
            self._open = False
            if self._sent:
                self._sent = False
                _raise_in(self._ident, ctypes.py_object())

    def here(self) -> bool:
        """See :class:`Place`."""
        return self._open

    def interrupt(self, error: type[BaseException]) -> bool:
        """See :class:`Stoppable`. Returns whether user code runs at this moment."""
        with self._lock:
            if not self._open:
                if not self.began and issubclass(error, Stopped):
                    self.pending = error
                return False
            if self._main.owns(self._ident):
                self._main.interrupt(self, error)
            else:
                self._sent = True
                _raise_in(self._ident, error)
            return True

    def press(self) -> None:
        """Nothing: there is one way only."""

    def awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Just the coroutine; a :class:`LoopWindow` is for those."""
        return coroutine


class LoopWindow:
    """Of a coroutine; awaited instead of it, once.

    Args:
        main: of the pool.
    """

    def __init__(self, main: MainThread) -> None:
        self.began = 0.0
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._step = ThreadWindow(main)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._error: type[BaseException] | None = None
        self._first, self._ended = True, False

    # ---- any thread

    def interrupt(self, error: type[BaseException]) -> None:
        """See :class:`Stoppable`."""
        self._error = error
        if self._loop is not None and not self._ended:
            try:
                self._loop.call_soon_threadsafe(self._cancel)
            except RuntimeError:
                return  # the loop is closed

    def press(self) -> None:
        """The loop has not come to it: this coroutine, or another one, computes."""
        error = self._error
        if error is not None and not self._ended and self._step.interrupt(error):
            self._error = None  # else it would be raised a second time when the loop comes to it

    # ---- on the loop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True

    def awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """This window, which stands for the coroutine."""
        self._coroutine = coroutine
        return self

    def _cancel(self) -> None:
        if self._task is not None and self._error is not None and not self._ended:
            self._task.cancel()

    def __await__(self) -> Self:
        import asyncio  # noqa: PLC0415 -- whoever awaits has it

        self._task = asyncio.current_task()
        self.began = clock.monotonic()
        self._loop = asyncio.get_running_loop()
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """One step; the first one does not reach a task that was stopped before."""
        assert self._coroutine is not None
        if self._first:
            self._first = False
            if self._error is Stopped:
                return self.throw(Stopped())
        try:
            with self._step:
                return self._coroutine.send(value)
        except BaseException:
            self._ended = True
            raise

    def throw(self, *exception: Any) -> Any:
        """One step, in which a cancellation of ours is what it stands for."""
        import asyncio  # noqa: PLC0415

        assert self._coroutine is not None
        error = next(one for one in reversed(exception[:2]) if one is not None)
        if self._error is not None and isinstance(error, asyncio.CancelledError) and self._task is not None:
            error, self._error = self._error(), None
            self._task.uncancel()
        try:
            with self._step:
                return self._coroutine.throw(error)
        except BaseException:
            self._ended = True
            raise

    def close(self) -> None:
        """As coroutines are closed."""
        self._ended = True
        if self._coroutine is not None:
            self._coroutine.close()
