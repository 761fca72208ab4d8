"""Who gets the next message of a queue: consumer priorities, round robin, exclusive and single active consumers.

Owns the choice; the queue owns messages and deliveries.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.testing.devbroker.interface import Consumer


class Consumers:
    """The consumers of a queue, all of which may get messages.

    Among those that are ready the highest priority goes first; within a priority they take turns.
    """

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: list[deque[Consumer]] = []  # highest priority first, none empty

    def __len__(self) -> int:
        return sum(map(len, self._turns))

    def __iter__(self) -> Iterator[Consumer]:
        for turn in self._turns:
            yield from turn

    @property
    def exclusive(self) -> bool:
        """Whether one of them is an exclusive consumer."""
        return any(consumer.exclusive for consumer in self)

    def add(self, consumer: Consumer) -> None:
        """Let it take part; its turn comes last."""
        for place, turn in enumerate(self._turns):
            if turn[0].priority == consumer.priority:
                turn.append(consumer)
                return
            if turn[0].priority < consumer.priority:
                self._turns.insert(place, deque((consumer,)))
                return
        self._turns.append(deque((consumer,)))

    def remove(self, consumer: Consumer) -> bool:
        """Leave it out from now on; False when it was not there."""
        for turn in self._turns:
            if consumer in turn:
                turn.remove(consumer)
                if not turn:
                    self._turns.remove(turn)
                return True
        return False

    def choose(self) -> Consumer | None:
        """Whose turn it is, with which it has had it; None when nobody is ready."""
        for turn in self._turns:
            if len(turn) == 1:
                if turn[0].ready:
                    return turn[0]
                continue
            for _ in range(len(turn)):
                consumer = turn[0]
                turn.rotate(-1)
                if consumer.ready:
                    return consumer
        return None

    def clear(self) -> list[Consumer]:
        """Take out all."""
        taken = list(self)
        self._turns.clear()
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
        super().__init__()
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

    def choose(self) -> Consumer | None:
        """The active consumer, when it is ready."""
        active = self.active
        return active if active is not None and self._successor is None and active.ready else None

    def clear(self) -> list[Consumer]:
        """Take out all."""
        self.active = self._successor = None
        return super().clear()
