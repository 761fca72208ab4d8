"""The rate limit of one worker: Celery's ``rate_limit``. Owns when the next delivery of a task is called forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.worker.limits.bucket import Bucket
from amqtask.worker.limits.parked import Parked

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop
    from amqtask.tasks.limits import Rate
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.limits.station import Readmit


class Pace:
    """See :class:`~amqtask.worker.limits.station.Station`. A token is taken at the start itself, not before.

    Args:
        loop: of the I/O thread.
        rate: how often.
        readmit: for whose turn it is.
    """

    def __init__(self, loop: Loop, rate: Rate, readmit: Readmit) -> None:
        self._loop, self._rate, self._readmit = loop, rate, readmit
        self._bucket = Bucket(rate, clock.monotonic())
        self._parked = Parked()
        self._called: Delivery | None = None
        """The one that was called forward and has not been asked about yet; nobody overtakes it."""
        self._timer: object | None = None

    def passes(self, delivery: Delivery) -> bool:
        """See Station; so for the others."""
        turn = self._called is delivery or (self._called is None and not self._parked)
        if self._called is delivery:
            self._called = None
        if turn and self._bucket.take(clock.monotonic()):
            self._next()
            return True
        self._parked.push(delivery)
        self._next()
        return False

    def leave(self, key: int) -> None:
        """It was revoked, for example, while it waited for a slot."""
        if self._called is not None and self._called.key == key:
            self._called = None
            self._next()

    def clear(self) -> list[Delivery]:
        """Nobody waits any more."""
        self._called = None
        self._loop.cancel(self._timer)
        self._timer = None
        return self._parked.clear()

    def close(self) -> None:
        """Nothing is held."""

    def describe(self) -> dict[str, object]:
        """Rate and what waits."""
        return {"rate_limit": str(self._rate), "scope": "worker", "parked": len(self._parked)}

    def _next(self) -> None:
        if self._called is None and self._timer is None and self._parked:
            self._timer = self._loop.call_later(self._bucket.wait(clock.monotonic()), self._due)

    def _due(self) -> None:
        self._timer = None
        if self._called is None and (delivery := self._parked.pop()) is not None:
            self._called = delivery
            self._readmit(delivery)
