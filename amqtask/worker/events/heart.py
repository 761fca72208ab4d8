"""The worker's heart: when worker-heartbeat is sent. Owns the rhythm.

Whoever listens to events wants a heartbeat every two seconds; while nobody listens, hundreds of idle workers must not
keep the broker busy. Each heartbeat is published mandatory. As long as the broker returns them nobody listens, and the
next one goes out half a minute later; the first that does not come back starts the usual rhythm again, and so does
remote control's ``heartbeat``, which receivers send when they begin to listen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop

IDLE = 30.0
"""Seconds between heartbeats that nobody listens to."""


class Heart:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        send: sends one heartbeat, mandatory.
        interval: seconds between two, while somebody listens.
    """

    def __init__(self, loop: Loop, send: Callable[[], None], interval: float) -> None:
        self._loop, self._send, self._interval = loop, send, interval
        self._timer: object | None = None
        self._returned = False
        self.running = False

    def start(self) -> None:
        """Begin to beat, at once; harmless when it beats."""
        if not self.running:
            self.running = True
            self._beat()

    def stop(self) -> None:
        """Beat no more."""
        self.running = False
        self._cancel()

    def beat_now(self) -> None:
        """Somebody has begun to listen."""
        if self.running:
            self._cancel()
            self._beat()
        else:
            self._send()

    def returned(self) -> None:
        """The last heartbeat has come back: nobody listens."""
        self._returned = True

    def _beat(self) -> None:
        self._returned = False
        self._timer = self._loop.call_later(self._interval, self._look)
        self._send()

    def _look(self) -> None:
        if self._returned and self._interval < IDLE:
            self._timer = self._loop.call_later(IDLE - self._interval, self._beat)
        else:
            self._beat()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None
