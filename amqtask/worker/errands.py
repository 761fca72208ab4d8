"""Where code of the worker runs that waits for other programs, and is not the user's. Owns the contract.

Threads, unless the pool says otherwise: under gevent such code has to be in greenlets of the main thread, for it shares
connections and locks with tasks there.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from amqtask.unpatched import Bell

if TYPE_CHECKING:
    from collections.abc import Callable


class Errand(Protocol):
    """Something that runs."""

    def is_alive(self) -> bool:
        """Whether it has not ended."""

    def join(self, timeout: float) -> None:
        """Wait for its end, at most so many seconds; in a real thread."""


class Rung(Protocol):
    """Wakes the one errand that waits for it."""

    def ring(self) -> None:
        """From any thread; before the wait, it ends the next one at once."""

    def wait(self, timeout: float | None = None) -> bool:
        """In an errand: wait until it was rung since the last wait, or for so many seconds."""


class Errands(Protocol):
    """Makes them; on the I/O thread."""

    def start(self, call: Callable[[], None], name: str) -> Errand:
        """Have this run."""

    def bell(self) -> Rung:
        """For an errand."""

    def tell(self, call: Callable[[], object]) -> None:
        """Call what ends an errand's wait, such as ``threading.Event.set``, where that may be done."""


class Threads:
    """See :class:`Errands`."""

    def start(self, call: Callable[[], None], name: str) -> Errand:
        """In a daemon thread."""
        thread = threading.Thread(target=call, name=name, daemon=True)
        thread.start()
        return thread

    def bell(self) -> Rung:
        """A lock."""
        return Bell()

    def tell(self, call: Callable[[], object]) -> None:
        """Now."""
        call()


THREADS = Threads()


def errands_of(pool: object) -> Errands:
    """What this pool needs errands to be."""
    found: Errands = getattr(pool, "errands", THREADS)
    return found
