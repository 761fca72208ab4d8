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
        seconds: how long each may take.
        over: called with each that took longer.
    """

    def __init__(self, scheduler: Scheduler, seconds: float, over: Callable[[Entry], None]) -> None:
        self._scheduler, self._seconds, self._over = scheduler, seconds, over
        self._due: dict[Entry, float] = {}  # in the order of delivery, which is that of time too
        self._timer: Timer | None = None

    def start(self, entry: Entry) -> None:
        """It was delivered."""
        self._due[entry] = self._scheduler.now() + self._seconds
        if self._timer is None:
            self._timer = self._scheduler.call_later(self._seconds, self._fire)

    def stop(self, entry: Entry) -> None:
        """It was settled."""
        self._due.pop(entry, None)

    def close(self) -> None:
        """Never call back any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer, now = None, self._scheduler.now()
        for entry in [entry for entry, due in self._due.items() if due <= now]:
            self._due.pop(entry, None)
            self._over(entry)
        if self._due and self._timer is None:
            self._timer = self._scheduler.call_at(next(iter(self._due.values())), self._fire)
