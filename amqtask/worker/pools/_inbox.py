"""Carries things from other threads to the I/O thread with as few wake-ups as possible. Owns nothing else."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.broker.interface import Loop

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue whose reader is called on the I/O thread; one wake-up is pending at a time.

    Args:
        loop: of the I/O thread.
        receive: gets everything that has gathered, in order.
    """

    def __init__(self, loop: Loop, receive: Callable[[list[T]], None]) -> None:
        self._loop, self._receive = loop, receive
        self._items: deque[T] = deque()
        self._woken = False

    def put(self, item: T) -> None:
        """Add one; from any thread."""
        self._items.append(item)
        self._wake()

    def put_all(self, items: Iterable[T]) -> None:
        """Add several; from any thread."""
        self._items.extend(items)
        self._wake()

    def flush(self) -> None:
        """Hand over what has gathered, now; on the I/O thread."""
        if self._items:
            self._take()

    def _wake(self) -> None:
        # Added before this look, and the flag falls before the queue is emptied: nothing is overlooked. Two threads
        # may both wake the loop; the second time finds less, or nothing.
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._woken = False
        items = []
        while self._items:
            items.append(self._items.popleft())
        if items:
            self._receive(items)
