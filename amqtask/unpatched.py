"""What gevent replaces in the standard library, as it is without gevent. Owns where that is found.

For the worker's own threads, which stay real ones: whatever waits with gevent's means belongs to the hub of the thread
it was made in, and the process crashes when another thread waits with it. Nothing here may be held while a greenlet
waits for something else: all greenlets of its thread would wait too.
"""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import selectors
    import threading
    from collections.abc import Callable


def original(module: str, name: str) -> Any:
    """Attribute of a module of the standard library, whoever has patched that."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def new_lock() -> threading.Lock:
    """A real lock; to be held for moments."""
    made: threading.Lock = original("_thread", "allocate_lock")()
    return made


def new_selector() -> selectors.BaseSelector:
    """The platform's best."""
    made: selectors.BaseSelector = original("selectors", "DefaultSelector")()
    return made


def thread_ident() -> int:
    """Of this thread, as the system knows it; gevent's is the address of a greenlet."""
    ident: int = original("_thread", "get_ident")()
    return ident


def close(descriptor: int) -> None:
    """Close it now; gevent leaves that to the hub of the thread, and that of a real thread does not run."""
    original("os", "close")(descriptor)


def sleep(seconds: float) -> None:
    """Have the whole thread wait."""
    original("time", "sleep")(seconds)


def start_thread(call: Callable[[], object]) -> None:
    """Call this in a real thread."""

    def run() -> None:
        try:
            call()
        finally:
            drop_hub()

    original("_thread", "start_new_thread")(run, ())


def drop_hub() -> None:
    """At the end of a real thread: end the hub that it has got if something in it waited with gevent's means.

    That can't be ruled out: the locks of imports are gevent's, and so is whatever the user's code waits for. The
    process crashes when a hub that has run is left to a thread that ends.
    """
    local = sys.modules.get("gevent._hub_local")
    if local is not None and (hub := local.get_hub_if_exists()):  # false when it has not run: sockets have one anyway
        hub.destroy(destroy_loop=True)


class Bell:
    """Wakes the one thread that waits for it. Rung before that, it ends the next wait at once."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._lock.acquire()

    def ring(self) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # it has been rung already
            self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it was rung since the last wait, or for this many seconds. Returns whether it was."""
        return self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
