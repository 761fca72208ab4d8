"""How messages leave a queue other than by an ack. Owns the step from a queue to its dead letter exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine.dead_letters import HeldLetters, Letter
from amqtask.testing.devbroker.engine.deaths import MAXLEN

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.arguments import QueueOptions
    from amqtask.testing.devbroker.engine.entry import Entry
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.surroundings import Surroundings


class Burial:
    """Where the dead messages of one queue go.

    Args:
        queue: the queue's name.
        options: the queue's arguments.
        surroundings: what the vhost lends.
    """

    __slots__ = ("_held", "_letters", "_memory", "_options", "_queue")

    def __init__(self, queue: str, options: QueueOptions, surroundings: Surroundings) -> None:
        self._queue, self._options = queue, options
        self._letters, self._memory = surroundings.dead_letters, surroundings.memory
        scheduler, release = surroundings.scheduler, surroundings.memory.remove
        self._held = HeldLetters(self._letters, scheduler, release) if options.at_least_once else None

    @property
    def held(self) -> tuple[int, int]:
        """Letters that wait for being accepted elsewhere, and their weight."""
        return (0, 0) if self._held is None else (len(self._held), self._held.bytes)

    def bury(self, entry: Entry, reason: str) -> None:
        """A message dies; it must not be in the queue any more."""
        if self._options.dead_letter_exchange is None:
            self.forget(entry)
            return
        original = entry.original or entry.message
        message = self._letters.write(self._queue, self._options, original, reason, entry.failures)
        if self._held is not None:
            self._held.hold(message, reason, entry.size, entry.weight)
        else:
            self.forget(entry)
            self._letters.send(Letter(message, reason))

    def bury_refused(self, message: Message) -> None:
        """A message dies that the queue did not even take."""
        if self._options.dead_letter_exchange is not None:
            letter = self._letters.write(self._queue, self._options, message, MAXLEN, message.failures)
            self._letters.send(Letter(letter, MAXLEN))

    def forget(self, entry: Entry) -> None:
        """Give back the memory that a message took."""
        self._memory.remove(entry.size)
        entry.size = 0

    def close(self) -> None:
        """The queue is gone, and what it held with it."""
        if self._held is not None:
            self._memory.remove(self._held.close())
