"""What a scheduler has done and how it does: figures for health checks, metrics and tests. Owns the counting."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Callable

FROZEN = 5.0
"""Seconds without a turn of its loop, or a look at the clock, after which a scheduler counts as frozen; while it is
connected it looks once a second."""
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


class Proof:
    """Whether a scheduler's loop turns. For other threads than its own, which ask now and then.

    Args:
        pulse: of the scheduler.
        call_soon: has its loop call back; from any thread.
    """

    def __init__(self, pulse: Pulse, call_soon: Callable[[Callable[[], None]], None]) -> None:
        self._pulse, self._call_soon = pulse, call_soon
        self._asked: float | None = None
        """When the loop was asked for a turn that it has not made yet."""

    def problem(self) -> str:
        """What is wrong, and since when; empty when nothing is. A broker that is away is nothing wrong."""
        now, pulse = clock.monotonic(), self._pulse
        if pulse.connected and pulse.last_tick and now - pulse.last_tick > FROZEN:
            return f"no look at the clock for {now - pulse.last_tick:.0f} s"
        asked = self._asked  # the loop's thread takes it back at any moment
        if asked is None:
            self._asked = now
            self._call_soon(self._turned)
        elif now - asked > FROZEN:
            return f"its loop does not turn for {now - asked:.0f} s"
        return ""

    def _turned(self) -> None:
        self._asked = None
