"""Pauses before returned messages of a quorum queue come back (``x-delayed-retry-*`` of RabbitMQ 4.3).

Owns the waiting messages and their timer; the queue decides what is returned and puts it back.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.testing.devbroker.engine.entry import Entry
    from amqtask.testing.devbroker.engine.scheduler import Scheduler, Timer


class DelayedRetries:
    """Returned messages that wait.

    The pause grows with the failures: as many times the shortest as there were, up to the longest.

    Args:
        scheduler: the broker's time.
        kinds: which returns wait: of failures (True), others (False).
        shortest: seconds.
        longest: seconds.
        back: called with the messages whose pause is over.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        kinds: frozenset[bool],
        shortest: float,
        longest: float,
        back: Callable[[list[Entry]], None],
    ) -> None:
        self._scheduler, self._kinds, self._back = scheduler, kinds, back
        self._shortest, self._longest = shortest, longest
        self._waiting: list[tuple[float, int, Entry]] = []
        self._numbers = itertools.count()
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """What they weigh."""
        return sum(entry.weight for _, _, entry in self._waiting)

    def keep(self, entry: Entry, *, failed: bool) -> bool:
        """Let a returned message wait; False when it need not."""
        if failed not in self._kinds:
            return False
        pause = min(self._shortest * max(1, entry.failures), self._longest)
        heapq.heappush(self._waiting, (self._scheduler.now() + pause, next(self._numbers), entry))
        self._watch()
        return True

    def clear(self) -> list[Entry]:
        """Take all out and never call back."""
        entries = [entry for _, _, entry in self._waiting]
        self._waiting.clear()
        self._watch()
        return entries

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._timer = self._scheduler.call_at(self._waiting[0][0], self._fire)

    def _fire(self) -> None:
        now, over = self._scheduler.now(), []
        while self._waiting and self._waiting[0][0] <= now:
            over.append(heapq.heappop(self._waiting)[2])
        self._watch()
        self._back(over)
