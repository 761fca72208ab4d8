"""How many messages a worker holds per queue when ``prefetch`` is ``auto`` (sans I/O).

Owns the rule. A held message waits here while another worker may be idle, and a late message of higher priority is
overtaken by every message held; but too few, and the slots wait for the broker between short tasks. So the window
follows the measured run time: about 20 ms of work per slot, never less than one message per slot.
"""

from __future__ import annotations

_WORK_AHEAD = 0.02
"""Seconds of work to hold per slot; some ten times a round trip to a broker in the same data centre."""

_PER_SLOT_MAX = 128
_TOTAL_MAX = 512
_SMOOTHING = 0.2
_STEP = 2.0
"""A change is worth a new consumer only beyond this factor."""


class AutoPrefetch:
    """The prefetch of one worker's queues, from run times.

    Args:
        slots: how many tasks run at once.
    """

    def __init__(self, slots: int) -> None:
        self._slots = max(1, slots)
        self._runtime: float | None = None
        self.value = self._slots
        self.observed = 0
        """Tasks whose run times were taken in."""

    def observe(self, runtime: float) -> None:
        """Take in the run time of one task, in seconds."""
        old = self._runtime
        self._runtime = runtime if old is None else old + _SMOOTHING * (runtime - old)
        self.observed += 1

    def resize(self, slots: int) -> None:
        """The pool has this many slots now."""
        self._slots = max(1, slots)

    def next_value(self) -> int | None:
        """The new :attr:`value`, set by this, when it should change now; else None. To be asked every second or so."""
        if self._runtime is None:
            if self.value >= self._slots:
                return None
            self.value = self._slots
            return self.value
        per_slot = min(_PER_SLOT_MAX, max(1, int(_WORK_AHEAD / max(self._runtime, 1e-6))))
        wanted = max(self._slots, min(_TOTAL_MAX, self._slots * per_slot))
        if self.value < self._slots or wanted >= self.value * _STEP or wanted * _STEP <= self.value:
            self.value = wanted
            return wanted
        return None
