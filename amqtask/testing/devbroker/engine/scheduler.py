"""The broker's time: it can be moved forward by tests. Owns timers; knows nothing of what they do."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FEW = 64  # this many timers are not worth sweeping


class Timer:
    """A call that is due at some time; :meth:`cancel` takes it back."""

    __slots__ = ("action", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Never call it; harmless when it has been called."""
        self.action = None


class Scheduler:
    """Timers on a clock that runs by itself and can also be moved forward. For one thread.

    Args:
        clock: seconds that only grow.
        changed: called when the next timer may be due earlier than it was, so that whoever sleeps wakes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, changed: Callable[[], None] = lambda: None) -> None:
        self._clock, self.changed = clock, changed
        self._offset = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._crowded = _FEW

    def now(self) -> float:
        """Seconds on the broker's clock; only differences mean anything."""
        return self._clock() + self._offset

    @property
    def offset(self) -> float:
        """Seconds by which the clock was moved so far; what stamps wall-clock times adds it."""
        return self._offset

    def call_at(self, due: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` once :meth:`now` has reached ``due``."""
        if len(self._timers) > self._crowded:
            self._sweep()
        timer = Timer(due, action)
        heapq.heappush(self._timers, (due, next(self._numbers), timer))
        if self._timers[0][2] is timer:
            self.changed()
        return timer

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` after ``delay`` seconds of this clock."""
        return self.call_at(self.now() + delay, action)

    def advance(self, seconds: float) -> None:
        """Move the clock forward, running every timer on the way in its order and at its time."""
        target = self.now() + seconds
        while (due := self._next()) is not None and due <= target:
            self._offset += max(0.0, due - self.now())
            self.run_due()
        self._offset += max(0.0, target - self.now())

    def run_due(self) -> None:
        """Call everything that is due by now."""
        while (due := self._next()) is not None and due <= self.now():
            _, _, timer = heapq.heappop(self._timers)
            action, timer.action = timer.action, None
            if action is not None:
                action()

    def pause(self) -> float | None:
        """Seconds until the next timer is due, at least 0; None when there is none."""
        due = self._next()
        return None if due is None else max(0.0, due - self.now())

    def _sweep(self) -> None:
        """Forget cancelled timers; those far ahead would stay until they are due."""
        self._timers = [timer for timer in self._timers if timer[2].action is not None]
        heapq.heapify(self._timers)
        self._crowded = max(_FEW, 2 * len(self._timers))

    def _next(self) -> float | None:
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None
