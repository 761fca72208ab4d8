"""Cameras: pictures of a cluster's state at regular times, for storing them elsewhere. Owns the timing.

class Store(Polaroid):
    clear_after = True

    def on_shutter(self, state): ...

with Store(state, freq=2.0):
    app.events.Receiver(connection, {"*": state.event}).capture()
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Self

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.events.state import State

logger = logging.getLogger("amqtask.events")


class Polaroid:
    """Takes a picture every ``freq`` seconds, in a thread of its own, while it is open as a context manager.

    Args:
        state: to take pictures of.
        freq: seconds between two.
        shortest: seconds that have to pass between two even when :meth:`shutter` is called more often.
        cleanup_freq: seconds between calls of :meth:`on_cleanup`.

    Attributes:
        clear_after: forget workers and finished tasks after each picture.
    """

    clear_after = False

    def __init__(self, state: State, freq: float = 1.0, shortest: float = 0.0, cleanup_freq: float = 3600.0) -> None:
        self.state, self.freq, self._shortest, self.cleanup_freq = state, freq, shortest, cleanup_freq
        self._last = -shortest
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=(seconds, work), name="amqtask-camera", daemon=True)
            for seconds, work in ((freq, self.capture), (cleanup_freq, self.on_cleanup))
        ]

    def on_shutter(self, state: State) -> None:
        """Store what matters of the state, which does not change meanwhile."""

    def on_cleanup(self) -> None:
        """Throw away what is too old."""

    def capture(self) -> None:
        """Take a picture, unless the last one is too fresh."""
        now = clock.monotonic()
        if now - self._last >= self._shortest:
            self._last = now
            self.state.freeze_while(self.on_shutter, self.state, clear_after=self.clear_after)

    shutter = capture

    def install(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def cancel(self) -> None:
        """End, without a last picture."""
        self._stopped.set()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._stopped.wait(seconds):
            try:
                work()
            except Exception:
                logger.exception("%s failed", type(self).__name__)

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.capture()
        self.cancel()
