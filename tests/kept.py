"""A result backend in memory that fails when it is told to, and counts chords if it is asked to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from amqtask.errors import BackendError
from amqtask.results.base import Joined, Looked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask import Amqtask
    from amqtask.results.base import Part, Record


class KeptChords:
    """Counts members; gives the results to the first who asks when all are there."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.sizes: dict[str, int] = {}
        self.parts: dict[str, dict[str, Part]] = {}
        self.dispatched_groups: list[str] = []
        self.grown: set[str] = set()

    def begin(self, group_id: str, size: int) -> None:
        self._kept.check()
        self.sizes[group_id] = size

    def grow(self, group_id: str, by: int, key: str) -> None:
        self._kept.check()
        if key not in self.grown:
            self.grown.add(key)
            self.sizes[group_id] += by

    def complete(self, part: Part) -> Joined | None:
        self._kept.check()
        parts = self.parts.setdefault(part.group_id, {})
        parts[part.task_id] = part
        if len(parts) < self.sizes[part.group_id] or part.group_id in self.dispatched_groups:
            return None
        in_order = sorted(parts.values(), key=lambda one: one.group_index or 0)
        return Joined(part.group_id, "token", tuple(one.result for one in in_order))

    def look(self, group_id: str, *, expired: bool) -> Looked:
        self._kept.check()
        if group_id in self.dispatched_groups:
            return Looked(over=True)
        missing = self.sizes[group_id] - len(self.parts.get(group_id, ()))
        return Looked(over=False, joined=Joined(group_id, "token", ()) if expired else None, missing=missing)

    def dispatched(self, joined: Joined) -> None:
        self._kept.check()
        self.dispatched_groups.append(joined.group_id)


class Kept:
    """See :class:`amqtask.results.base.Backend`; what only clients call is left out.

    Attributes:
        history: every record that was stored, in order.
        down: while it is set, every call fails.
        failures: how often that has happened.
    """

    by_message = False

    def __init__(self, *, chords: bool = False) -> None:
        self.history: list[Record] = []
        self.down = False
        self.failures = 0
        self.chords = KeptChords(self) if chords else None
        self._lock = threading.Lock()

    def check(self) -> None:
        if self.down:
            self.failures += 1
            raise BackendError("the backend is down")

    def store(self, records: Sequence[Record]) -> None:
        self.check()
        with self._lock:
            self.history += records

    def expect(self, task_ids: Any) -> None:
        """Nothing to be ready for."""

    def close(self) -> None:
        """Nothing is open."""

    def states(self, task_id: str) -> list[str]:
        """The states of a task, in order."""
        return [record.state for record in self.history if record.task_id == task_id]


def keep_in(app: Amqtask, backend: Kept) -> Kept:
    """Make an app keep its results there; before anything has used them."""
    app.results._backend = backend  # type: ignore[assignment]
    return backend
