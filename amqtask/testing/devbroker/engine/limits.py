"""How much a queue may hold. Owns the limits of length and bytes and what happens at them; the queue acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from amqtask.testing.devbroker.engine.arguments import DROP_HEAD, REJECT_PUBLISH_DLX

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.arguments import QueueOptions

_QUORUM_LOW_WATER = 0.8  # of its limit, under which a full quorum queue takes messages again


class Held(Protocol):
    """Messages that count."""

    count: int
    bytes: int


class Limits:
    """The limits of one queue.

    Args:
        options: the queue's arguments.
        ready: its waiting messages.
    """

    __slots__ = ("_full", "_max_bytes", "_max_length", "_quorum", "_ready", "drops", "to_dead_letters")

    def __init__(self, options: QueueOptions, ready: Held) -> None:
        self._max_length, self._max_bytes = options.max_length, options.max_bytes
        self._ready, self._quorum = ready, options.quorum
        self._full = False
        self.drops = options.overflow == DROP_HEAD
        self.to_dead_letters = options.overflow == REJECT_PUBLISH_DLX

    def refuses(self, size: int, held: int, held_bytes: int) -> bool:
        """Whether a message is not taken.

        Args:
            size: what it weighs.
            held: messages that are in the queue and not ready, but count too.
            held_bytes: what these weigh.
        """
        if self.drops:
            return False
        if not self._quorum:
            return self._over(self._ready.count + 1, self._ready.bytes + size)
        # A quorum queue notices only afterwards that it is full, so it gets one message too many.
        count, total = self._ready.count + held, self._ready.bytes + held_bytes
        if self._full:
            self._full = self._over(count, total, _QUORUM_LOW_WATER)
        else:
            self._full = self._over(count, total)
        return self._full

    @property
    def exceeded(self) -> bool:
        """Whether the queue holds too much."""
        return self._over(self._ready.count, self._ready.bytes)

    def _over(self, count: int, total: int, part: float = 1) -> bool:
        return (self._max_length is not None and count > int(self._max_length * part)) or (
            self._max_bytes is not None and total > int(self._max_bytes * part)
        )
