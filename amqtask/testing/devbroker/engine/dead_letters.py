"""Sends dead letters on their way. Owns the order of sending, cycles, and letters that must not get lost.

Dead letters of a call wait until what caused them is done, so a chain of queues that pass a message on takes no
stack, and no queue changes while it is in the middle of something.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from amqtask.testing.devbroker.engine.deaths import REJECTED, bury, is_cycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.testing.devbroker.engine.arguments import QueueOptions
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.scheduler import Scheduler, Timer

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds between attempts to pass on a letter that must not get lost


class Target(Protocol):
    """A queue that takes letters."""

    name: str

    def enqueue(self, message: Message) -> bool:
        """Take a message; False: refused."""


class Letter:
    """A dead letter that is to be sent.

    Args:
        message: what to send.
        reason: why it died.
        settled: called with True when every queue it was routed to has it, else with False; None: nobody asks.
    """

    __slots__ = ("accepted", "message", "reason", "settled")

    def __init__(self, message: Message, reason: str, settled: Callable[[bool], None] | None = None) -> None:
        self.message, self.reason, self.settled = message, reason, settled
        self.accepted: set[str] = set()


class DeadLetters:
    """The sender of a vhost's dead letters.

    Args:
        route: the queues that a message goes to.
    """

    def __init__(self, scheduler: Scheduler, route: Callable[[Message], Iterable[Target]]) -> None:
        self._scheduler, self._route = scheduler, route
        self._waiting: deque[Letter] = deque()
        self._sending = False

    def write(self, queue: str, options: QueueOptions, message: Message, reason: str, failures: int) -> Message:
        """What a message becomes when it dies in a queue that has a dead letter exchange.

        Args:
            queue: the queue's name.
            options: the queue's arguments.
            message: as it was in the queue.
            reason: why it dies.
            failures: how often its deliveries failed so far.
        """
        now = int(time.time() + self._scheduler.offset)
        exchange = options.dead_letter_exchange
        assert exchange is not None
        return bury(message, queue, reason, failures, now, exchange, options.dead_letter_routing_key)

    def send(self, letter: Letter) -> None:
        """Send a letter: now, or after the one that is being sent."""
        self._waiting.append(letter)
        if self._sending:
            return
        self._sending = True
        try:
            while self._waiting:
                self._deliver(self._waiting.popleft())
        finally:
            self._sending = False

    def _deliver(self, letter: Letter) -> None:
        message, complete, reached = letter.message, True, False
        for queue in self._route(message):
            if letter.reason != REJECTED and is_cycle(message, queue.name):
                continue
            reached = True
            if queue.name not in letter.accepted:
                if queue.enqueue(message):
                    letter.accepted.add(queue.name)
                else:
                    complete = False
        if letter.settled is not None:
            letter.settled(complete and reached)


class HeldLetters:
    """Letters of one queue that stay in it until the queues they go to have them (``at-least-once``).

    Args:
        letters: who sends them.
        scheduler: for the pauses between attempts.
        release: called with the bytes of a letter that has arrived.
    """

    def __init__(self, letters: DeadLetters, scheduler: Scheduler, release: Callable[[int], None]) -> None:
        self._letters, self._scheduler, self._release = letters, scheduler, release
        self._held: dict[Letter, tuple[int, int]] = {}
        self._timer: Timer | None = None
        self._pause = _FIRST_PAUSE
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, message: Message, reason: str, size: int, weight: int) -> None:
        """Keep a letter and send it until it has arrived.

        Args:
            message: the letter.
            reason: why the message died.
            size: bytes that the memory account holds for it.
            weight: bytes that count to the queue's limit.
        """
        letter = Letter(message, reason)
        letter.settled = lambda arrived: self._settled(letter, arrived)
        self._held[letter] = size, weight
        self.bytes += weight
        self._letters.send(letter)

    def close(self) -> int:
        """Forget all; the bytes they held."""
        size = sum(size for size, _ in self._held.values())
        for letter in self._held:
            letter.settled = None
        self._held.clear()
        self.bytes = 0
        if self._timer is not None:
            self._timer.cancel()
        return size

    def _settled(self, letter: Letter, arrived: bool) -> None:
        if arrived:
            size, weight = self._held.pop(letter)
            letter.settled = None
            self.bytes -= weight
            self._pause = _FIRST_PAUSE
            self._release(size)
        elif self._timer is None:
            self._timer = self._scheduler.call_later(self._pause, self._again)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _again(self) -> None:
        self._timer = None
        for letter in list(self._held):
            self._letters.send(letter)
