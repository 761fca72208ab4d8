"""Messages that wait in a queue, in the order in which they leave it.

Owns the order: priority first, then arrival, and where returned messages go. Classic queues put a message back where
it was; quorum queues hand out everything returned first, in the order of its return and without its priority.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amqtask.testing.devbroker.engine.entry import Entry


class Ready:
    """The waiting messages of a classic queue.

    Attributes:
        count: how many wait.
        bytes: the sum of their weights.
    """

    __slots__ = ("_bitmap", "_levels", "bytes", "count")

    def __init__(self) -> None:
        self._levels: dict[int, deque[Entry]] = {}
        self._bitmap = 0  # bit n is set when level n has messages
        self.count = self.bytes = 0

    def push(self, entry: Entry) -> None:
        """Append a message to its level."""
        self._level(entry.priority).append(entry)
        self.count += 1
        self.bytes += entry.weight

    def peek(self) -> Entry | None:
        """The message that leaves next."""
        return self._levels[self._bitmap.bit_length() - 1][0] if self._bitmap else None

    def pop(self) -> Entry:
        """Take the message that leaves next; there must be one."""
        return self.pop_level(self._bitmap.bit_length() - 1)

    def pop_level(self, priority: int) -> Entry:
        """Take the first message of a level; there must be one."""
        level = self._levels[priority]
        entry = level.popleft()
        if not level:
            self._bitmap ^= 1 << priority
        self.count -= 1
        self.bytes -= entry.weight
        return entry

    def heads(self) -> Iterable[Entry]:
        """The messages that may expire now: only the one that leaves next."""
        head = self.peek()
        return () if head is None else (head,)

    def drop_head(self, _entry: Entry) -> None:
        """Take one of :meth:`heads`."""
        self.pop()

    def restore(self, entries: list[Entry]) -> None:
        """Put returned messages back to where they were."""
        for entry in sorted(entries, key=_number, reverse=True):
            level = self._level(entry.priority)
            if not level or entry.number < level[0].number:
                level.appendleft(entry)
            else:
                level.insert(_place(level, entry.number), entry)
            self.count += 1
            self.bytes += entry.weight

    def clear(self) -> list[Entry]:
        """Take everything, in order."""
        taken = list(self)
        self._levels.clear()
        self._bitmap = self.count = self.bytes = 0
        return taken

    def __iter__(self) -> Iterator[Entry]:
        for priority in sorted(self._levels, reverse=True):
            yield from self._levels[priority]

    def _level(self, priority: int) -> deque[Entry]:
        self._bitmap |= 1 << priority
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = deque()
        return level


class QuorumReady(Ready):
    """The waiting messages of a quorum queue."""

    __slots__ = ("_returned",)

    def __init__(self) -> None:
        super().__init__()
        self._returned: deque[Entry] = deque()

    def peek(self) -> Entry | None:
        """The message that leaves next."""
        return self._returned[0] if self._returned else super().peek()

    def pop(self) -> Entry:
        """Take the message that leaves next; there must be one."""
        if not self._returned:
            return super().pop()
        entry = self._returned.popleft()
        self.count -= 1
        self.bytes -= entry.weight
        return entry

    def heads(self) -> Iterable[Entry]:
        """The messages that may expire now: the first of every level, and of those returned."""
        heads = [level[0] for level in self._levels.values() if level]
        return [self._returned[0], *heads] if self._returned else heads

    def drop_head(self, entry: Entry) -> None:
        """Take one of :meth:`heads`."""
        if self._returned and self._returned[0] is entry:
            self.pop()
        else:
            self.pop_level(entry.priority)

    def restore(self, entries: list[Entry]) -> None:
        """Put returned messages behind those returned before."""
        for entry in entries:
            self._returned.append(entry)
            self.count += 1
            self.bytes += entry.weight

    def clear(self) -> list[Entry]:
        """Take everything, in order."""
        taken = super().clear()
        self._returned.clear()
        return taken

    def __iter__(self) -> Iterator[Entry]:
        yield from self._returned
        yield from super().__iter__()


def _number(entry: Entry) -> int:
    return entry.number


def _place(level: deque[Entry], number: int) -> int:
    low, high = 0, len(level)
    while low < high:
        middle = (low + high) // 2
        if level[middle].number < number:
            low = middle + 1
        else:
            high = middle
    return low
