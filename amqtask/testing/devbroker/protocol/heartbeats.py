"""Heartbeats of one connection. Owns the clockwork: when to send one and when the peer has been silent for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_SILENT_INTERVALS = 2
_BEAT_SIZE = 8


class Heartbeats:
    """Looks twice per interval; real time, whatever the broker's clock says.

    Args:
        loop: the loop it lives on.
        interval: seconds.
        sent: bytes ever sent; when nothing but beats went since the last look, ``beat`` is called.
        received: bytes ever received; None while nothing is read.
        beat: sends a heartbeat.
        lost: called when nothing came for more than two intervals.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interval: int,
        sent: Callable[[], int],
        received: Callable[[], int | None],
        beat: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop, self._pause = loop, interval / 2
        self._sent, self._received, self._beat, self._lost = sent, received, beat, lost
        self._seen_sent, self._seen_received, self._silent = sent(), received(), 0
        self._beats = 0
        self._timer = loop.call_later(self._pause, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        sent = self._sent() - _BEAT_SIZE * self._beats  # a beat is no reason to leave out the next one
        if sent == self._seen_sent:
            self._beat()
            self._beats += 1
        self._seen_sent = sent
        received = self._received()
        self._silent = self._silent + 1 if received == self._seen_received and received is not None else 0
        self._seen_received = received
        if self._silent > _SILENT_INTERVALS * 2:
            self._lost()
        else:
            self._timer = self._loop.call_later(self._pause, self._look)
