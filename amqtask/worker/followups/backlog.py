"""What waits to be stored, and when it is tried again (sans I/O).

Owns the order and the pauses. What is new goes in batches. What has failed goes alone from then on, each with pauses
that grow, so that one odd record holds up nobody; and after any failure everything pauses, so that a backend that is
down is not asked all the time. Records of one task keep their order, and a state that nobody waits for gives way to a
newer one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amqtask.results.base import Record

RETRY_FIRST = 0.5
RETRY_MAX = 30.0
"""Seconds between attempts while the backend fails."""

BATCH = 500
"""Most records of one call."""

BATCH_BYTES = 16 * 1024 * 1024
"""Most bytes of documents of one call, unless a single task has more."""


def backoff(failures: int) -> float:
    """Seconds to pause after this many failures in a row, 1 at least."""
    return min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(failures - 1, 10))


@dataclass(slots=True, eq=False)
class Work:
    """Something for the storing thread to do.

    Attributes:
        records: to store; None for a ``call``.
        call: the call to make.
        done: told the result and the error, on the I/O thread; None: nobody waits for it.
        backend: the call needs the backend, so it is repeated while that fails.
        failures: how often it has failed so far.
        not_before: monotonic time of its next attempt.
    """

    records: Sequence[Record] | None = None
    call: Callable[[], Any] | None = None
    done: Callable[[Any, Exception | None], None] | None = None
    backend: bool = True
    failures: int = 0
    not_before: float = 0.0
    task_ids: set[str] = field(init=False)

    @property
    def size(self) -> int:
        """Bytes of the documents."""
        return sum(len(record.document) for record in self.records or ())

    def __post_init__(self) -> None:
        self.task_ids = {record.task_id for record in self.records or ()}


class Backlog:
    """Work in the order in which it is to be done. Not thread-safe.

    Attributes:
        failures: attempts that have failed in a row.
    """

    def __init__(self) -> None:
        self._free: deque[Work] = deque()
        self._fresh: deque[Work] = deque()
        self._failed: deque[Work] = deque()
        self._not_before = 0.0
        self.failures = 0

    def __len__(self) -> int:
        return len(self._free) + len(self._fresh) + len(self._failed)

    def add(self, work: Work) -> None:
        """Add new work."""
        if not work.backend:
            self._free.append(work)
        elif work.task_ids and self._supersede(work):
            self._failed.append(work)
        else:
            self._fresh.append(work)

    def _supersede(self, work: Work) -> bool:
        """Drop what nobody waits for and ``work`` makes out of date; whether something else must go before it."""
        waits = False
        for other in list(self._failed):
            if other.task_ids & work.task_ids:
                if other.done is None and other.task_ids <= work.task_ids:
                    self._failed.remove(other)
                else:
                    waits = True
        return waits

    def take(self, now: float) -> list[Work]:
        """What to do now: one call, or records for one call of the backend; nothing: see :meth:`pause`."""
        if self._free:
            return [self._free.popleft()]
        if now < self._not_before:
            return []
        if self._fresh:
            return self._take_fresh()
        for work in self._oldest():
            if work.not_before <= now:
                self._failed.remove(work)
                return [work]
        return []

    def _take_fresh(self) -> list[Work]:
        first = self._fresh.popleft()
        batch = [first]
        if first.records is None:
            return batch
        count, size = len(first.records), first.size
        while self._fresh:
            work = self._fresh[0]
            count, size = count + len(work.records or ()), size + work.size
            if work.records is None or count > BATCH or size > BATCH_BYTES:
                break
            batch.append(self._fresh.popleft())
        return batch

    def _oldest(self) -> Iterator[Work]:
        """What has failed and is not behind older work of the same task."""
        seen: set[str] = set()
        for work in list(self._failed):
            if seen.isdisjoint(work.task_ids):
                yield work
            seen |= work.task_ids

    def pause(self, now: float) -> float | None:
        """Seconds until :meth:`take` may have something; None when nothing waits."""
        if self._free:
            return 0.0
        if self._fresh:
            return max(0.0, self._not_before - now)
        if not self._failed:
            return None
        return max(0.0, self._not_before - now, min(work.not_before for work in self._oldest()) - now)

    def failed(self, batch: Sequence[Work], now: float) -> float:
        """What was taken has failed and is kept; returns the seconds until the next attempt of anything."""
        self.failures += 1
        self._not_before = now + backoff(self.failures)
        self.apart(batch)
        for work in batch:
            work.failures += 1
            work.not_before = now + backoff(work.failures)
        return backoff(self.failures)

    def later(self, work: Work, now: float) -> None:
        """This call, which was taken, is to be repeated after a pause; everything else goes on."""
        work.failures += 1
        work.not_before = now + backoff(work.failures)
        self._failed.append(work)

    def apart(self, batch: Sequence[Work]) -> None:
        """What was taken is to be tried again, one by one."""
        kept: list[Work] = []
        newer: set[str] = set()
        for work in reversed([*batch, *self._failed]):
            if work.done is not None or not work.task_ids or not work.task_ids <= newer:
                kept.append(work)
            newer |= work.task_ids
        self._failed = deque(reversed(kept))

    def succeeded(self) -> int:
        """The backend works; returns how many failures that ends. What has failed is due at once after several."""
        ended, self.failures, self._not_before = self.failures, 0, 0.0
        if ended > 1:
            for work in self._failed:
                work.not_before = 0.0
        return ended
