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


def _from_outside(error: BaseException) -> bool:
    """Can't it be the selector's own? Then a signal handler has raised it."""
    return not isinstance(error, OSError | ValueError) or isinstance(error, TimeoutError)


class LoopBrokenError(Exception):
    """The thread that drove the loop was interrupted in the middle; what was under way has no known end."""


class _Waiter:
    """One thread's work: its result, and how to wake the thread."""

    __slots__ = ("done", "lock", "result")

    def __init__(self) -> None:
        self.done = False
        self.result: Any = None
        self.lock: threading.Lock | None = None  # only a follower needs one

    def arm(self) -> threading.Lock:
        """A lock to wait on; :meth:`wake` releases it."""
        self.lock = lock = threading.Lock()
        lock.acquire()
        return lock

    def wake(self) -> None:
        lock, self.lock = self.lock, None
        if lock is not None:
            lock.release()


class SharedLoop:
    """Drives a loop from many threads; thread-safe.

    An exception may arrive anywhere, for instance from a signal handler. So every step that passes the lead on can be
    repeated without harm, and a thread that leaves always sees to it that somebody is awake to take it.

    Args:
        loop: the loop; from now on nobody else may drive it.
    """

    def __init__(self, loop: SelectLoop) -> None:
        self.loop = loop
        # reentrant: a signal handler may interrupt the few lines under it in the same thread
        self._mutex = threading.RLock()
        self._leader: _Waiter | None = None
        self._followers: dict[_Waiter, None] = {}
        self._inside: set[int] = set()
        self._broken = False
        self._closing = False

    def run(self, begin: Callable[[Callable[[T], None]], None]) -> T:
        """Call ``begin(finish)`` on the loop, and drive it until ``finish(result)`` is called; returns the result.

        Raises:
            LoopBrokenError: the loop broke, here or in another thread.
            BrokerError: called from a signal handler or finalizer that interrupted a call of the same thread.
            Exception: whatever a callback on the loop raised in this thread.
        """
        me = threading.get_ident()
        if me in self._inside:
            raise BrokerError(
                "publishing from a signal handler or finalizer that interrupted a publish of the same thread: "
                "it would wait for itself"
            )
        waiter = _Waiter()

        def finish(result: T) -> None:
            waiter.result = result
            waiter.done = True
            self._followers.pop(waiter, None)
            waiter.wake()

        try:
            self._inside.add(me)
            self._wait(waiter, lambda: begin(finish))
        finally:
            # an exception may arrive at every call, so the second try has to stand right here; so below
            try:
                self._leave(waiter)
                self._inside.discard(me)
            except BaseException:
                self._leave(waiter)
                self._inside.discard(me)
                raise
        if not waiter.done:
            raise LoopBrokenError
        result: T = waiter.result
        return result

    @property
    def broken(self) -> bool:
        """Was it left in the middle of something? Then it never works again."""
        return self._broken

    def close(self) -> None:
        """Release the loop as soon as nobody drives it; nobody may have work on it.

        Who waits without having begun, and every later :meth:`run`, gets LoopBrokenError.
        """
        with self._mutex:
            if not self._broken:
                self._broken = self._closing = True
                self._release()

    def keep(self) -> None:
        """Let the loop do what is due (heartbeats), unless somebody drives it anyway."""
        waiter = _Waiter()
        try:
            if self._take_lead(waiter):
                self._drive(self._keep)
        finally:
            try:
                self._leave(waiter)
            except BaseException:
                self._leave(waiter)
                raise

    # -- inside ---------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        for _ in range(_KEEPING_TURNS):
            self.loop.turn(0)

    def _wait(self, waiter: _Waiter, begin: Callable[[], None]) -> None:
        """Lead, or follow until the work is done or the lead is free."""
        if self._take_lead(waiter):
            self._drive(lambda: self._lead(waiter, begin))
            return
        with self._mutex:
            lock = waiter.arm()
            self._followers[waiter] = None
        self.loop.call_soon_threadsafe(begin)
        while not waiter.done and not self._broken:
            if self._take_lead(waiter):
                self._drive(lambda: self._lead(waiter, None))
                return
            lock.acquire()
            with self._mutex:
                if waiter.lock is None and not waiter.done:
                    lock = waiter.arm()

    def _take_lead(self, waiter: _Waiter) -> bool:
        with self._mutex:
            if self._broken or self._leader is not None:
                return False
            self._leader = waiter
            self._followers.pop(waiter, None)
            return True

    def _lead(self, waiter: _Waiter, begin: Callable[[], None] | None) -> None:
        if begin is not None:
            begin()
        turn = self.loop.turn
        while not waiter.done:
            turn(_TURN)

    def _drive(self, drive: Callable[[], None]) -> None:
        """Drive as the leader; an exception in the middle breaks the loop for everybody."""
        self.loop.resting = False
        try:
            drive()
        except BaseException as error:
            # the client library may have been left in the middle of a frame: nothing may use the loop again
            if not (self.loop.resting and _from_outside(error)):
                try:
                    self._break()
                except BaseException:
                    self._break()
                    raise
            raise

    def _break(self) -> None:
        if not self._broken:
            self._broken = True
            self.loop.abandon()

    def _leave(self, waiter: _Waiter) -> None:
        """Give up the lead, if it is ours, and wake whoever is to act on that."""
        with self._mutex:
            self._followers.pop(waiter, None)
            if self._leader is waiter:
                self._leader = None
            self._release()
            if self._broken:
                for follower in list(self._followers):
                    follower.wake()
            elif self._leader is None and self._followers:
                next(iter(self._followers)).wake()

    def _release(self) -> None:
        if self._closing and self._leader is None:
            self.loop.close()
            self._closing = False
