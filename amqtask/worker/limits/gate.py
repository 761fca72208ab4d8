"""Limits at the worker's gate: a delivery starts when it has passed all of its own. Owns their order.

First a permit, which may take long to come, then the rate, which has to be right at the moment of the start. What a
delivery has passed it keeps until it has ended. One that has expired passes without: it only has to be told of, and
where more is sent than a rate lets through, those that can still run would never have their turn.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.wire.header_values import moment
from amqtask.worker.custody.gates import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.limits.concurrency import ConcurrencyLimits
    from amqtask.worker.limits.rate import RateLimits


class LimitGate(Observer):
    """A :class:`~amqtask.worker.custody.gates.Gate`, and an observer: told when a task has ended. On the I/O thread.

    Args:
        rates: of tasks.
        concurrency: of tasks.
        parked: told of a queue and how many of its deliveries wait here, whenever that changes.
    """

    def __init__(self, rates: RateLimits, concurrency: ConcurrencyLimits, parked: Callable[[str, int], None]) -> None:
        self._rates, self._concurrency, self._tell = rates, concurrency, parked
        self._kept: dict[int, Delivery] = {}
        """Those that have waited here and not started, called forward or not."""
        self._counts: Counter[str] = Counter()

    def admit(self, delivery: Delivery) -> bool:
        """See Gate; so for the next one."""
        if not self._in_use():
            return True
        permits = self._concurrency.of(delivery) if self._concurrency else None
        rate = self._rates.stations.get(delivery.name or "")
        if (permits is not None or rate is not None) and _has_expired(delivery):
            self._leave(delivery)
            return True
        if permits is not None and not permits.passes(delivery):
            return self._keep(delivery)
        if rate is not None and not rate.passes(delivery):
            return self._keep(delivery)
        self._let_go(delivery.key)
        return True

    def clear(self) -> list[Delivery]:
        """Everything that is parked, in the order of arrival."""
        kept = [delivery for station in self._rates.stations.values() for delivery in station.clear()]
        kept += [delivery for permits in self._concurrency for delivery in permits.clear()]
        for key in list(self._kept):
            self._let_go(key)
        return sorted(kept, key=lambda delivery: delivery.key)

    @property
    def kept(self) -> Collection[Delivery]:
        """What has waited here and not started; some of it may have been called forward and wait for a slot."""
        return self._kept.values()

    # -- observer ------------------------------------------------------------------------------------

    def started(self, delivery: Delivery) -> None:
        """See Observer; so for the others."""
        if self._concurrency and (permits := self._concurrency.of(delivery)) is not None:
            permits.started(delivery.key)

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: ARG002
        """Its permit is free."""
        if self._in_use():
            self._leave(delivery)

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: ARG002
        """Its permit is free."""
        self._leave(delivery)

    def gone(self, delivery: Delivery) -> None:
        """Its permit is free."""
        self._leave(delivery)

    def _in_use(self) -> bool:
        """Whether there is a limit, or something that has waited for one; mostly there is none."""
        return bool(self._rates.stations or self._kept or self._concurrency)

    def _leave(self, delivery: Delivery) -> None:
        self._let_go(delivery.key)
        if self._concurrency and (permits := self._concurrency.of(delivery)) is not None:
            permits.leave(delivery.key)
        if (rate := self._rates.stations.get(delivery.name or "")) is not None:
            rate.leave(delivery.key)

    # -- how many wait, by queue -----------------------------------------------------------------------

    def _keep(self, delivery: Delivery) -> bool:
        if delivery.key not in self._kept:
            self._kept[delivery.key] = delivery
            self._counts[delivery.queue] += 1
            self._tell(delivery.queue, self._counts[delivery.queue])
        return False

    def _let_go(self, key: int) -> None:
        delivery = self._kept.pop(key, None)
        if delivery is not None:
            queue = delivery.queue
            self._counts[queue] -= 1
            self._tell(queue, self._counts[queue])


def _has_expired(delivery: Delivery) -> bool:
    """Whether it will not run: what its header says is looked at once more, with the signature, by who would run it."""
    try:
        expires = moment((delivery.properties.headers or {}).get("expires"))
    except (TypeError, ValueError):  # other clients may put anything there
        return False
    return expires is not None and expires <= clock.utcnow()
