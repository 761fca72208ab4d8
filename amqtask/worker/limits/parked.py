"""Deliveries that wait for a limit, in the order in which they may start. Owns that order (sans I/O)."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.worker.deliveries.delivery import Delivery


class Parked:
    """Higher priority first, then in the order of arrival, even for one that was called forward and is parked again."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Delivery]] = []

    def push(self, delivery: Delivery) -> None:
        """Add one."""
        heapq.heappush(self._heap, (-delivery.priority, delivery.key, delivery))

    def pop(self) -> Delivery | None:
        """Take the next one; None when nobody waits."""
        return heapq.heappop(self._heap)[2] if self._heap else None

    def clear(self) -> list[Delivery]:
        """Take all, in order."""
        taken = [delivery for _, _, delivery in sorted(self._heap, key=lambda entry: entry[:2])]
        self._heap.clear()
        return taken

    def __len__(self) -> int:
        return len(self._heap)
