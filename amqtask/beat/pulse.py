"""What a scheduler has done and how it does: figures for health checks, metrics and tests. Owns the counting."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_REMEMBERED = 1000
"""Occurrences whose lateness is kept."""


@dataclass(slots=True)
class Pulse:
    """Read from other threads; written by the scheduler's.

    Attributes:
        connected: the log is consumed.
        leading: it is this process that sends.
        last_tick: when it last looked at the clock, on that of :func:`amqtask.clock.monotonic`; 0 when not yet.
        sent_count: occurrences sent.
        lateness: seconds of the last of them.
    """

    connected: bool = False
    leading: bool = False
    last_tick: float = 0.0
    sent_count: int = 0
    lateness: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def ticked(self, now: float) -> None:
        """It has looked at the clock."""
        self.last_tick = now

    def sent(self, late: float) -> None:
        """It has sent an occurrence this many seconds late."""
        self.sent_count += 1
        self.lateness.append(late)
