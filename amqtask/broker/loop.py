"""A small single-threaded event loop on the platform's selector: timers, callbacks from threads, descriptors.

Owns waiting and dispatching, nothing of AMQP. It offers two sets of names for the same things: those of
:class:`amqtask.broker.interface.Loop`, and those pika expects of a loop that it is handed (``add_handler`` and so on,
pika's documented ``AbstractSelectorIOLoop``). Against pika's own loop it adds a bounded :meth:`SelectLoop.turn`, a
wake-up that costs no system call on the loop's own thread, and :meth:`SelectLoop.abandon` for the child of a fork.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
from _socket import socketpair  # of the module socket's, gevent makes some that belong to one thread
from collections import deque
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING

from amqtask import clock, unpatched

if TYPE_CHECKING:
    from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

_IDLE_TURN = 60.0
"""Longest wait of one turn of :meth:`SelectLoop.run`, in seconds; anything that happens ends it earlier."""

_STALE_TIMERS = 512
"""Cancelled timers that may wait in the heap before it is swept."""


class Timer:
    """Handle of a :meth:`SelectLoop.call_later`; ``callback`` is None once fired or cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback


class _Watch:
    """Adapts ``watch(fd, on_readable)`` to the handler signature ``(fd, events)``."""

    __slots__ = ("on_readable", "on_writable")

    def __init__(self, on_readable: Callable[[], None]) -> None:
        self.on_readable: Callable[[], None] | None = on_readable
        self.on_writable: Callable[[], None] | None = None

    def __call__(self, _fd: int, events: int) -> None:
        if events & WRITE and self.on_writable is not None:
            self.on_writable()
        # looked up again: the writable callback may have ended the watch
        if events & READ and self.on_readable is not None:
            self.on_readable()


class SelectLoop:
    """The event loop. One thread at a time drives it; only :meth:`call_soon_threadsafe` is for others.

    An exception that a callback raises leaves :meth:`turn` or :meth:`run`; what was not called yet is called in the
    next turn.

    Args:
        real: a real thread drives it, even where gevent has made greenlets of threads.
    """

    READ = READ
    WRITE = WRITE
    ERROR = 4  # pika registers it together with WRITE; the selector reports errors as readable and writable

    def __init__(self, *, real: bool = False) -> None:
        self.real = real
        self._selector = unpatched.new_selector() if real else selectors.DefaultSelector()
        self._handlers: dict[int, Callable[[int, int], None]] = {}
        self._events: dict[int, int] = {}
        self._eager: dict[int, int] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._calls: deque[Callable[[], None]] = deque()
        self._driver: int | None = None
        self._running = False
        self.resting = False
        """Waiting in a turn, with nothing half done: an exception from a signal handler does no harm there."""
        self._wake_reader, self._wake_writer = socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, READ, self._on_wake)

    # -- timers and calls -----------------------------------------------------------------------------------------

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back once after ``delay`` seconds; returns a handle for :meth:`cancel`."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (clock.monotonic() + delay, next(self._order), timer))
        return timer

    def cancel(self, handle: object) -> None:
        """Forget a :meth:`call_later`; harmless after it has fired."""
        if isinstance(handle, Timer) and handle.callback is not None:
            handle.callback = None
            self._cancelled += 1
            if self._cancelled > _STALE_TIMERS and self._cancelled * 2 > len(self._timers):
                self._timers = [entry for entry in self._timers if entry[2].callback is not None]
                heapq.heapify(self._timers)
                self._cancelled = 0

    remove_timeout = cancel

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn; from any thread."""
        self._calls.append(callback)
        if self._driver != get_ident():
            self.wake()

    add_callback = call_soon_threadsafe

    def wake(self) -> None:
        """End the wait of the current turn, or make the next one not wait; from any thread."""
        # a full pipe means that a wake-up is pending anyway; OSError: the loop was closed meanwhile
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _on_wake(self, _fd: int, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)

    # -- descriptors ----------------------------------------------------------------------------------------------

    def add_handler(self, fd: int, handler: Callable[[int, int], None], events: int) -> None:
        """Call ``handler(fd, events)`` when any of ``events`` happens, or the other side closes."""
        self._selector.register(fd, events & (READ | WRITE), handler)
        self._handlers[fd], self._events[fd] = handler, events & (READ | WRITE)

    def update_handler(self, fd: int, events: int) -> None:
        """Change the events a handler is called for.

        A descriptor that is to be watched for writing too is first tried once at the start of the next turn, and
        watched only if the handler then still wants to write: a connected socket nearly always takes what is written,
        and the try saves two changes of the selector and a wait for every message.
        """
        events &= READ | WRITE
        if events & WRITE and not self._events[fd] & WRITE:
            self._eager[fd] = events
            return
        self._eager.pop(fd, None)
        self._select(fd, events)

    def _select(self, fd: int, events: int) -> None:
        if events != self._events[fd]:
            self._events[fd] = events
            self._selector.modify(fd, events, self._handlers[fd])

    def _write_eagerly(self) -> None:
        for fd in list(self._eager):
            handler = self._handlers.get(fd)
            if handler is not None and fd in self._eager:
                handler(fd, WRITE)
            if (events := self._eager.pop(fd, None)) is not None and fd in self._handlers:
                self._select(fd, events)

    def remove_handler(self, fd: int) -> None:
        """Stop calling the handler; before the descriptor is closed."""
        del self._handlers[fd], self._events[fd]
        self._eager.pop(fd, None)
        self._selector.unregister(fd)

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call back whenever the file descriptor is readable or closed by the other side."""
        self.add_handler(fd, _Watch(on_readable), READ)

    def watch_writable(self, fd: int, on_writable: Callable[[], None] | None) -> None:
        """Also call back whenever a watched ``fd`` is writable; None stops that."""
        watch = self._handlers[fd]
        if not isinstance(watch, _Watch):
            raise TypeError(f"descriptor {fd} was not given to watch()")  # the contract of Loop, not a user's input
        watch.on_writable = on_writable
        # at once: who asks has found the descriptor full
        self._select(fd, READ if on_writable is None else READ | WRITE)

    def unwatch(self, fd: int) -> None:
        """Stop watching; before the descriptor is closed. Harmless for one that is not watched."""
        watch = self._handlers.get(fd)
        if watch is None:
            return
        if isinstance(watch, _Watch):
            watch.on_readable = watch.on_writable = None
        self.remove_handler(fd)

    # -- driving --------------------------------------------------------------------------------------------------

    def turn(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for something to do, do it, and return."""
        self._driver = get_ident()
        self.resting = False
        try:
            if self._eager:
                self._write_eagerly()
            if self._calls or self._eager:
                timeout = 0.0
            elif self._timers:
                timeout = max(0.0, min(timeout, self._timers[0][0] - clock.monotonic()))
            # what is ready is reported again until it is read: nothing is lost when this is interrupted
            self.resting = True
            ready = self._selector.select(timeout)
            self.resting = False
            for key, events in ready:
                # a handler called before in this very turn may have removed this one
                if key.data is self._handlers.get(key.fd) or key.fileobj is self._wake_reader:
                    key.data(key.fd, events)
            for _ in range(len(self._calls)):
                self._calls.popleft()()
            if self._timers:
                self._fire()
        finally:
            self._driver = None

    def _fire(self) -> None:
        timers = self._timers
        now, newest = clock.monotonic(), next(self._order)
        # timers made while firing wait for the next turn, so that descriptors get their chance
        while timers and timers[0][0] <= now and timers[0][1] < newest:
            timer = heapq.heappop(timers)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._cancelled -= 1
            else:
                callback()
            timers = self._timers

    def run(self) -> None:
        """Run until :meth:`stop`."""
        self._running = True
        while self._running:
            self.turn(_IDLE_TURN)

    start = run

    def stop(self) -> None:
        """End :meth:`run` after this turn; on the loop's thread."""
        self._running = False

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the selector; descriptors that are still watched stay open."""
        self._forget()
        self._wake_reader.close()
        self._wake_writer.close()

    def _forget(self) -> None:
        for kept in (self._handlers, self._events, self._eager, self._timers, self._calls):
            kept.clear()
        self._selector.close()

    def __del__(self) -> None:
        if hasattr(self, "_wake_writer"):
            self._wake_reader.close()
            self._wake_writer.close()

    def abandon(self) -> None:
        """In the child of a fork: let go of every inherited descriptor without a word to the other side.

        Each is replaced by ``/dev/null`` instead of closed: its owner object may close it later, and must not close
        something else that got the number meanwhile. Nothing is unregistered, since parent and child share one epoll.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for fd in (*self._handlers, self._wake_reader.fileno(), self._wake_writer.fileno()):
                os.dup2(null, fd, inheritable=False)
        finally:
            os.close(null)
        self._forget()
