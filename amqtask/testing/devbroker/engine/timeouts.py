"""How long consumers of a quorum queue may keep a message (``x-consumer-timeout`` of RabbitMQ 4.3).

Owns the time of each delivery; the queue takes the message back and ends the subscription.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.testing.devbroker.engine.entry import Entry
    from amqtask.testing.devbroker.engine.scheduler import Scheduler, Timer


class Timeouts:
    """The deliveries of one queue that are not settled.

    Args:
        scheduler: the broker's time.
        usual: milliseconds that each may take whose consumer has set no limit of its own; None: any time.
        over: called with each that took longer.
    """

    def __init__(self, scheduler: Scheduler, usual: int | None, over: Callable[[Entry], None]) -> None:
        self._scheduler, self._usual, self._over = scheduler, usual, over
        self._due: dict[Entry, float] = {}
        self._timer: Timer | None = None
        self._next = float("inf")

    def start(self, entry: Entry, limit: int | None) -> None:
        """It was delivered; ``limit`` is the consumer's own, in milliseconds."""
        allowed = self._usual if limit is None else limit
        if allowed is None:
            return
        due = self._due[entry] = self._scheduler.now() + allowed / 1000
        if due < self._next:
            self._wake_at(due)

    def stop(self, entry: Entry) -> None:
        """It was settled."""
        self._due.pop(entry, None)

    def close(self) -> None:
        """Never call back any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _wake_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = self._scheduler.call_at(due, self._fire), due

    def _fire(self) -> None:
        self._timer, self._next, now = None, float("inf"), self._scheduler.now()
        for entry in [entry for entry, due in self._due.items() if due <= now]:
            if self._due.pop(entry, None) is not None:
                self._over(entry)
        if self._due and (earliest := min(self._due.values())) < self._next:
            self._wake_at(earliest)
