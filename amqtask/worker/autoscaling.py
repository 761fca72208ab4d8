"""How many slots a worker needs for its load (sans I/O). Owns the rule.

Little's law: slots in use = arrivals per second x seconds that each takes. What has piled up is to be worked off within
some seconds, which takes more. Slots are added at once, and taken away when they were not needed for a while, idle ones
only: a load that comes in waves would else have children started and ended all the time.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

_SMOOTHING = 0.2
"""Weight of a new run time."""

_RISE, _FALL = 0.5, 0.2
"""Weight of one second's arrivals when they are more, and when they are fewer than so far."""

_SATURATED = 3
"""Looks in a row at a backlog behind busy slots that prove the figures wrong: half as many slots more then."""

_SPARE = 1.1
"""At exactly the slots that Little's law asks for, queues grow without bound as arrivals vary."""


class Load(NamedTuple):
    """A worker at one moment.

    Attributes:
        at: monotonic seconds.
        slots: of its pool.
        busy: slots that have a task.
        arrived: tasks that have come since the start.
        waiting: those of them that have not begun.
        queued: tasks in the queues it consumes; None: not looked at this time.
    """

    at: float
    slots: int
    busy: int
    arrived: int
    waiting: int
    queued: int | None


class Autoscaler:
    """The rule; ``worker_autoscaler`` names another class with these methods.

    Args:
        most, fewest: slots.

    Attributes:
        hold: seconds for which slots must have been idle to be taken away.
        drain: seconds in which a backlog is to be worked off.
    """

    hold = 10.0
    drain = 5.0

    def __init__(self, most: int, fewest: int) -> None:
        self.most, self.fewest = most, fewest
        self._runtime: float | None = None
        self._rate = 0.0
        self._queued = 0
        self._known: tuple[float, int] | None = None
        """When the queues were looked at last, and how many tasks there had been until then."""
        self._needs: deque[tuple[float, int]] = deque()
        self._saturated = 0

    def ended(self, runtime: float) -> None:
        """A task has ended after this many seconds."""
        old = self._runtime
        self._runtime = runtime if old is None else old + _SMOOTHING * (runtime - old)

    def change(self, load: Load) -> int:
        """Slots to add, or when negative to take away; 0 mostly. To be asked every second or so."""
        self._observe(load)
        need = self._need(load)
        needs = self._needs
        needs.append((load.at, need))
        while needs[0][0] < load.at - self.hold:
            needs.popleft()
        if need > load.slots:
            return need - load.slots
        # too many by the bounds go at once, those that are idle
        unneeded = load.slots - min(self.most, max(held for _, held in needs))
        return -max(0, min(unneeded, load.slots - load.busy, load.slots - self.fewest))

    def _observe(self, load: Load) -> None:
        if load.queued is not None:
            total, known = load.arrived + load.queued, self._known
            self._queued, self._known = load.queued, (load.at, total)
            if known is not None and load.at > known[0]:
                seconds = load.at - known[0]
                rate = max(0, total - known[1]) / seconds
                weight = _RISE if rate > self._rate else _FALL
                self._rate += (1 - (1 - weight) ** seconds) * (rate - self._rate)
        waits = load.waiting + self._queued > 0 and load.busy >= load.slots
        self._saturated = self._saturated + 1 if waits else 0

    def _need(self, load: Load) -> int:
        backlog = load.waiting + self._queued
        if self._runtime is None:  # none has ended yet: they take long, or are the first
            need = float(load.busy + backlog)
        else:
            steady = self._rate * self._runtime * _SPARE
            need = steady + backlog * self._runtime / self.drain
        if self._saturated >= _SATURATED:
            self._saturated = 0
            need = max(need, load.slots + max(1, load.slots // 2))
        return min(self.most, max(self.fewest, math.ceil(need - 1e-9)))
