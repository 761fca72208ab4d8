"""A rate limit over all workers: ``scope="global"``. Owns that each start spends a token, good again a period later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.limits.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop
    from amqtask.tasks.limits import Rate
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.limits.station import Readmit
    from amqtask.worker.limits.tokens import Seat

_SEATS_MAX = 8
"""Tokens that a worker waits for at once: enough for the time a token takes to come, few enough to share."""


class SharedRate(Turnstile):
    """See :class:`~amqtask.worker.limits.station.Station`.

    Args:
        loop: of the I/O thread.
        rate: how often.
        readmit: for whose turn it is.
        slots: of the pool, now.
    """

    def __init__(self, loop: Loop, rate: Rate, readmit: Readmit, slots: Callable[[], int]) -> None:
        super().__init__(loop, readmit, slots, min(rate.count, _SEATS_MAX))
        self._rate = rate

    def _use(self, delivery: Delivery, seat: Seat) -> None:  # noqa: ARG002 -- the base's
        self.tokens.release(seat, self._wanted(), spend=True)

    def describe(self) -> dict[str, object]:
        """Rate and what waits."""
        return {"rate_limit": str(self._rate), "scope": "global", "parked": len(self._parked)}
