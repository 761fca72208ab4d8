"""A token bucket: how often something may happen (sans I/O). Owns the arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.tasks.limits import Rate

_SLACK = 0.05
"""Seconds' worth of tokens a bucket holds, so that timers which come late don't lower a high rate."""


class Bucket:
    """Spreads starts evenly, as Celery does: 200/m is one each 0.3 s.

    In any span of ``t`` seconds there are at most ``capacity + t * rate`` takes.

    Args:
        rate: how often.
        now: monotonic time.
    """

    def __init__(self, rate: Rate, now: float) -> None:
        self._per_second = rate.per_second
        self.capacity = max(1.0, rate.per_second * _SLACK)
        self._tokens, self._at = self.capacity, now

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is a token."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._per_second)

    def _fill(self, now: float) -> None:
        self._tokens = min(self.capacity, self._tokens + max(0.0, now - self._at) * self._per_second)
        self._at = max(now, self._at)
