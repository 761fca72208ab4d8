"""A lock that is free in the child of a fork, whoever held it in the parent.

A thread that is in the middle of making something when another one forks does not exist in the child: a plain lock
would stay held there for ever. Fit only for state that is right at every moment, whatever was under way: something that
is made aside and put in place by one assignment.
"""

from __future__ import annotations

import os
import threading
import weakref


class ForkLock:
    """Reentrant; use as a context manager."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Make it free."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_locks):
        lock.renew()


os.register_at_fork(after_in_child=_after_fork_in_child)
