"""How many of a task run at once, over all workers: ``max_concurrency``. Owns who holds a permit, and for how long.

A permit is held unacknowledged while its task runs, so the broker itself takes back those of a worker that dies. One
whose connection goes while its tasks run owes permits: it takes them before it starts anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.worker.limits.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop
    from amqtask.tasks.limits import Limit
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.limits.station import Readmit
    from amqtask.worker.limits.tokens import Seat

RENEW = 300.0
"""Seconds after which a permit is taken anew: RabbitMQ closes a channel that keeps one for half an hour."""

_CHECK = 30.0


class Permits(Turnstile):
    """See :class:`~amqtask.worker.limits.station.Station`.

    Args:
        loop: of the I/O thread.
        limit: how many.
        readmit: for whose turn it is.
        slots: of the pool, now.
    """

    def __init__(self, loop: Loop, limit: Limit, readmit: Readmit, slots: Callable[[], int]) -> None:
        super().__init__(loop, readmit, slots, limit.value)
        self._limit = limit
        self._held: dict[int, Seat | None] = {}
        """Key of a delivery -> its permit; None: it runs and has none."""
        self._running: set[int] = set()
        self._timer: object | None = None

    def passes(self, delivery: Delivery) -> bool:
        """See Station; one that has a permit already is held up by another limit."""
        return delivery.key in self._held or super().passes(delivery)

    def _use(self, delivery: Delivery, seat: Seat) -> None:
        self._held[delivery.key] = seat
        self.tokens.want(self._wanted())
        if self._timer is None:
            self._timer = self._loop.call_later(_CHECK, self._renew)

    def started(self, key: int) -> None:
        """It runs."""
        if key in self._held:
            self._running.add(key)

    def leave(self, key: int) -> None:
        """It has ended, or will never start."""
        super().leave(key)
        self._running.discard(key)
        if key in self._held:
            self._return(self._held.pop(key))

    def clear(self) -> list[Delivery]:
        """What runs keeps its permit."""
        self._return_soon([self._held.pop(key) for key in self._held.keys() - self._running])
        return super().clear()

    def granted(self, seat: Seat) -> None:
        """A permit has come; those who run without one are first."""
        owing = next((key for key, held in self._held.items() if held is None), None)
        if owing is None:
            super().granted(seat)
        else:
            self._held[owing] = seat
            self.tokens.want(self._wanted())

    def lost(self) -> None:
        """All permits are gone; what waits for another limit has to get one again."""
        self._held = dict.fromkeys(self._running & self._held.keys())
        super().lost()
        self.tokens.want(self._wanted())

    @property
    def idle(self) -> bool:
        """Nobody waits and nothing runs."""
        return super().idle and not self._held

    def describe(self) -> dict[str, object]:
        """Limit, what runs here, and what waits."""
        return {"max_concurrency": self._limit.value, "running": len(self._running), "parked": len(self._parked)}

    def _wanted(self) -> int:
        return super()._wanted() + sum(1 for held in self._held.values() if held is None)

    def _renew(self) -> None:
        self._timer = None
        now = clock.monotonic()
        for seat in self._held.values():
            if seat is not None and seat.token and now - seat.since > RENEW:
                self.tokens.renew(seat)
        if self._held:
            self._timer = self._loop.call_later(_CHECK, self._renew)
