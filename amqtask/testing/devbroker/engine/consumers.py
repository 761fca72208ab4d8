"""Who gets the next message of a queue: consumer priorities, round robin, exclusive and single active consumers.

Owns the choice; the queue owns messages and deliveries.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.testing.devbroker.engine.interface import Consumer


class Consumers:
    """The consumers of a queue, all of which may get messages.

    Among those that are ready the highest priority goes first; within a priority they take turns. Who has no room for
    more leaves the line and joins it at its end once there is room again.

    Args:
        prompt: whether a consumer leaves the line with the message that fills it (quorum queues), rather than when
            it is its turn again (classic queues).
    """

    __slots__ = ("_full", "_lines", "_prompt")

    def __init__(self, *, prompt: bool) -> None:
        self._prompt = prompt
        self._lines: list[tuple[int, deque[Consumer]]] = []  # highest priority first
        self._full: dict[Consumer, None] = {}

    def __len__(self) -> int:
        return sum(len(line) for _, line in self._lines) + len(self._full)

    def __iter__(self) -> Iterator[Consumer]:
        for _, line in self._lines:
            yield from line
        yield from self._full

    @property
    def exclusive(self) -> bool:
        """Whether one of them is an exclusive consumer."""
        return any(consumer.exclusive for consumer in self)

    def add(self, consumer: Consumer) -> None:
        """Let it take part; its turn comes last."""
        for place, (priority, line) in enumerate(self._lines):
            if priority == consumer.priority:
                line.append(consumer)
                return
            if priority < consumer.priority:
                self._lines.insert(place, (consumer.priority, deque((consumer,))))
                return
        self._lines.append((consumer.priority, deque((consumer,))))

    def remove(self, consumer: Consumer) -> bool:
        """Leave it out from now on; False when it was not there."""
        if consumer in self._full:
            del self._full[consumer]
            return True
        for _, line in self._lines:
            if consumer in line:
                line.remove(consumer)
                return True
        return False

    def choose(self) -> Consumer | None:
        """Whose turn it is, with which it has had it; None when nobody is ready."""
        for _, line in self._lines:
            while line:
                consumer = line[0]
                if consumer.ready:
                    line.rotate(-1)
                    return consumer
                self._full[line.popleft()] = None
        return self.choose() if self.wake() else None

    def delivered(self, consumer: Consumer) -> None:
        """It got the message for which it was chosen."""
        if self._prompt and not consumer.ready:
            for _, line in self._lines:
                if line and line[-1] is consumer:
                    self._full[line.pop()] = None
                    return

    def wake(self) -> bool:
        """Let those take part again that have room again; False when there are none."""
        woken = [consumer for consumer in self._full if consumer.ready] if self._full else ()
        for consumer in woken:
            del self._full[consumer]
            self.add(consumer)
        return bool(woken)

    def clear(self) -> list[Consumer]:
        """Take out all."""
        taken = list(self)
        self._lines.clear()
        self._full.clear()
        return taken


class SingleActive(Consumers):
    """Consumers of which one gets everything until it goes (``x-single-active-consumer``).

    The next is the one with the highest priority that came first.

    Args:
        overtaking: whether a newcomer with a higher priority takes over (quorum queues), which it does when the old
            one has nothing unsettled any more.
    """

    __slots__ = ("_overtaking", "_successor", "active")

    def __init__(self, *, overtaking: bool) -> None:
        super().__init__(prompt=False)
        self._overtaking = overtaking
        self.active: Consumer | None = None
        self._successor: Consumer | None = None

    @property
    def handing_over(self) -> bool:
        """Whether the active consumer gets nothing more because another waits for it to settle."""
        return self._successor is not None

    def add(self, consumer: Consumer) -> None:
        """Let it wait for its turn, or take over."""
        super().add(consumer)
        if self.active is None:
            self.active = consumer
        elif self._overtaking and consumer.priority > (self._successor or self.active).priority:
            self._successor = consumer

    def hand_over(self) -> None:
        """The active consumer has settled everything: go on with the one that takes over."""
        if self._successor is not None:
            self.active, self._successor = self._successor, None

    def remove(self, consumer: Consumer) -> bool:
        """Leave it out; the next one is active when it was."""
        found = super().remove(consumer)
        if consumer is self._successor:
            self._successor = None
        if consumer is self.active:
            self.active, self._successor = next(iter(self), None), None
        return found

    def delivered(self, consumer: Consumer) -> None:
        """It got a message; nobody takes turns here."""

    def choose(self) -> Consumer | None:
        """The active consumer, when it is ready."""
        active = self.active
        return active if active is not None and self._successor is None and active.ready else None

    def clear(self) -> list[Consumer]:
        """Take out all."""
        self.active = self._successor = None
        return super().clear()
