"""One loop driven by whichever thread waits: leader and followers.

A hop through an I/O thread costs a waiting caller a quarter of a millisecond; here the caller drives the loop itself
until its own work is done. Only one thread drives at a time. Others hand their work over, wait, and are served by it;
when its own work is done it passes the loop on to one of them.

Owns who drives. Knows nothing of AMQP.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from amqtask.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.loop import SelectLoop

T = TypeVar("T")

_TURN = 60.0
"""Longest wait in one turn, in seconds; timers and descriptors end it earlier."""

_KEEPING_TURNS = 4
"""Turns that suffice to read what has come, act on it, and write the answer."""


class LoopBrokenError(Exception):
    """The thread that drove the loop was interrupted in the middle; what was under way has no known end."""


class _Waiter:
    """One thread's work: its result, and how to wake the thread."""

    __slots__ = ("done", "lock", "result")

    def __init__(self) -> None:
        self.done = False
        self.result: Any = None
        self.lock: threading.Lock | None = None  # only a follower needs one

    def wake(self) -> None:
        lock, self.lock = self.lock, None
        if lock is not None:
            lock.release()


class SharedLoop:
    """Drives a loop from many threads; thread-safe.

    Args:
        loop: the loop; from now on nobody else may drive it.
    """

    def __init__(self, loop: SelectLoop) -> None:
        self.loop = loop
        # reentrant: a signal handler may interrupt the few lines under it in the same thread
        self._mutex = threading.RLock()
        self._driving = False
        self._followers: dict[_Waiter, None] = {}
        self._inside: set[int] = set()
        self._broken = False

    def run(self, begin: Callable[[Callable[[T], None]], None]) -> T:
        """Call ``begin(finish)`` on the loop, and drive it until ``finish(result)`` is called; returns the result.

        Raises:
            LoopBrokenError: the loop broke, here or in another thread.
            BrokerError: called from a signal handler or finalizer that interrupted a call of the same thread.
            Exception: whatever a callback on the loop raised in this thread.
        """
        waiter = _Waiter()

        def finish(result: T) -> None:
            waiter.result = result
            waiter.done = True
            self._followers.pop(waiter, None)
            waiter.wake()

        me = threading.get_ident()
        leads, lock = self._enter(me, waiter, lambda: begin(finish))
        try:
            if leads:
                self._drive(waiter, lambda: begin(finish))
            elif lock is not None:
                lock.acquire()  # released when done, or when it is our turn to drive
                if not waiter.done and not self._broken:
                    self._drive(waiter, None)
        finally:
            self._inside.discard(me)
        if not waiter.done:
            raise LoopBrokenError
        result: T = waiter.result
        return result

    @property
    def broken(self) -> bool:
        """Was it left in the middle of something? Then it never works again."""
        return self._broken

    def close(self) -> None:
        """Release the loop; nobody may be waiting. A later :meth:`run` raises LoopBrokenError."""
        with self._mutex:
            if not self._broken and not self._driving:
                self._broken = True
                self.loop.close()

    def keep(self) -> None:
        """Let the loop do what is due (heartbeats), unless somebody drives it anyway."""
        with self._mutex:
            if self._driving or self._broken:
                return
            self._driving = True
        self._guarded(self._keep)

    def _keep(self) -> None:
        for _ in range(_KEEPING_TURNS):
            self.loop.turn(0)

    def _enter(
        self, me: int, waiter: _Waiter, begin: Callable[[], None]
    ) -> tuple[bool, threading.Lock | None]:
        """Take the lead, or queue up as a follower; tells which, and the lock to wait on."""
        with self._mutex:
            if self._broken:
                raise LoopBrokenError
            if me in self._inside:
                raise BrokerError(
                    "publishing from a signal handler or finalizer that interrupted a publish of the same thread: "
                    "it would wait for itself"
                )
            self._inside.add(me)
            if not self._driving:
                self._driving = True
                return True, None
            lock = threading.Lock()
            lock.acquire()  # noqa: SIM115 -- released by the driver
            waiter.lock = lock
            self._followers[waiter] = None
        self.loop.call_soon_threadsafe(begin)
        return False, lock

    def _drive(self, waiter: _Waiter, begin: Callable[[], None] | None) -> None:
        def until_done() -> None:
            if begin is not None:
                begin()
            turn = self.loop.turn
            while not waiter.done:
                turn(_TURN)

        self._guarded(until_done)

    def _guarded(self, drive: Callable[[], None]) -> None:
        """Drive, then pass the loop on; an exception in the middle breaks it for everybody."""
        try:
            drive()
        except BaseException:
            self._break()
            raise
        self._hand_over()

    def _hand_over(self) -> None:
        with self._mutex:
            while self._followers:
                follower, _ = self._followers.popitem()
                if not follower.done:
                    follower.wake()  # it drives from here on
                    return
            self._driving = False

    def _break(self) -> None:
        # the client library may have been left in the middle of a frame: nothing may use the loop again
        with self._mutex:
            self._broken = True
            self._driving = False
            followers = list(self._followers)
            self._followers.clear()
        self.loop.abandon()
        for follower in followers:
            follower.wake()
