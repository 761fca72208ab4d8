"""Background threads: where the worker's own code runs that waits for other programs. Owns the contract.

Threads, unless the pool says otherwise: under gevent such code has to be in greenlets of the main thread, for it shares
connections and locks with tasks there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from amqtask.unpatched import Bell

if TYPE_CHECKING:
    from collections.abc import Callable


class BackgroundThread(Protocol):
    """A thread, or a greenlet, of the worker's own."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""

    def join(self, timeout: float) -> None:
        """Wait for its end, at most this many seconds; in a real thread."""


class BellLike(Protocol):
    """Wakes the one thread that waits for it, as :class:`amqtask.unpatched.Bell` does."""

    def ring(self) -> None:
        """From any thread; before the wait, it ends the next one at once."""

    def wait(self, timeout: float | None = None) -> bool:
        """In its thread: wait until it was rung since the last wait, or for this many seconds."""


class Background(Protocol):
    """Makes background threads; called on the I/O thread."""

    def start(self, call: Callable[[], None], name: str) -> BackgroundThread:
        """Have this run in one."""

    def bell(self) -> BellLike:
        """What one waits for."""

    def tell(self, call: Callable[[], object]) -> None:
        """Call what ends the wait of one, such as ``threading.Event.set``, where that may be done."""


class Threads:
    """See :class:`Background`."""

    def start(self, call: Callable[[], None], name: str) -> BackgroundThread:
        """In a daemon thread."""
        thread = threading.Thread(target=call, name=name, daemon=True)
        thread.start()
        return thread

    def bell(self) -> BellLike:
        """A lock."""
        return Bell()

    def tell(self, call: Callable[[], object]) -> None:
        """Now."""
        call()


THREADS = Threads()
