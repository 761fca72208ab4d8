"""Things that belong to one process: connections, threads, pools. Owns making them again after a fork.

What a child finds of its parent's is left alone, neither used nor closed: closing a connection would say goodbye in the
parent's name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from amqtask.broker.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_abandoned: list[Any] = []
"""Parents' things, referred to for ever, so that no destructor runs in the child."""


class PerProcess(Generic[T]):
    """One thing per process, made when first asked for. Thread-safe.

    Args:
        make: the thing; may raise, and is called again then.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = ForkLock()
        self._made: tuple[int, T] | None = None

    def get(self) -> T:
        """The thing of this process."""
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        with self._lock:
            made = self._here()
            if made is None:
                made = self._made = (os.getpid(), self._make())
            return made[1]

    def take(self) -> T | None:
        """The thing of this process, to be closed by the caller; the next :meth:`get` makes another."""
        with self._lock:
            made, self._made = self._here(), None
        return None if made is None else made[1]

    def _here(self) -> tuple[int, T] | None:
        if self._made is not None and self._made[0] != os.getpid():
            _abandoned.append(self._made)
            self._made = None
        return self._made
