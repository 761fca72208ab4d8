"""Which tasks are known to be short, by measured run time. Owns the rule for windows; knows no child.

A child may hold several jobs only when all of them are of tasks known to be short, so that nothing ever waits
behind a long task. A task is known to be short after a handful of short runs, and unknown again after a long one.
"""

from __future__ import annotations

SHORT = 0.0005
"""Seconds of mean run time below which a task is short: a window of such tasks is 16 ms of work at most."""

WINDOW = 32
"""Jobs that a child may hold at once when all of them are short; with 8 a task costs a quarter more CPU."""

_WEIGHT = 0.2
_UNKNOWN = 4 * SHORT
"""Where the mean of a new task starts: six or seven short runs make it a short task."""


class RunTimes:
    """Mean run time per task name. Not thread-safe.

    Args:
        fair: take no task for short: strictly one job per child at a time.
    """

    def __init__(self, fair: bool = False) -> None:
        self._fair = fair
        self._mean: dict[str, float] = {}
        self.calm = False
        """True when the task that finished last was a short one: room for more is worth announcing."""

    def is_short(self, name: str) -> bool:
        """Whether jobs of this task may wait behind each other in one child."""
        return not self._fair and self._mean.get(name, _UNKNOWN) < SHORT

    def observe(self, name: str, runtime: float) -> None:
        """Take a measured run time in seconds; one long run counts at once, short ones by and by."""
        if runtime < SHORT:
            mean = self._mean.get(name, _UNKNOWN)
            runtime = mean + _WEIGHT * (runtime - mean)
        self._mean[name] = runtime
        self.calm = not self._fair and runtime < SHORT
