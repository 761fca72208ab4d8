"""Telling a message that kills its worker from one whose worker merely went away (sans I/O).

Owns the verdict on redelivered messages. A broker can't tell a crash from a cut connection, and its count of
deliveries means something else in each RabbitMQ series. So the count only raises a suspicion; a suspect is marked
durably before it starts (published again with one more in ``x-amqtask-lost``), and a marked message that comes back
once more has killed its worker:

    quorum queue, limit 3    run ─✗─► run ─✗─► mark, run ─✗─► dead letter
    classic queue, limit 3   run ─✗─► mark, run ─✗─► mark, run ─✗─► dead letter

Children of a prefork pool don't need this: the parent sees them die and knows what they ran. Nor does what this worker
only held when its connection went: it lives, so that message has killed nobody here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal, NamedTuple

from amqtask.worker.deliveries.republish import lost_count

if TYPE_CHECKING:
    from collections.abc import Hashable

    from amqtask.worker.deliveries.delivery import Delivery


class Verdict(NamedTuple):
    """What to do with a delivery that is about to start; ``lost`` is the count to mark it with, or to report."""

    action: Literal["run", "mark", "dead"]
    lost: int = 0


RUN = Verdict("run")


def deliveries(delivery: Delivery) -> int | None:
    """How often the broker says this message was delivered before; None where it does not count."""
    count = (delivery.properties.headers or {}).get("x-delivery-count")
    return count if isinstance(count, int) else None


def judge(delivery: Delivery, limit: int, *, counting: bool = True) -> Verdict:
    """Judge a delivery.

    Args:
        delivery: about to be handed to the pool.
        limit: deaths after which a message is dead-lettered (``worker_lost_max_deliveries``).
        counting: its queue counts deliveries. In one that does not, a count is what a client has written, and stays as
            it is however often the message kills.
    """
    if not delivery.redelivered:
        return RUN
    lost, count = lost_count(delivery), deliveries(delivery) if counting else None
    if count is None:
        return Verdict("dead", lost + 1) if lost + 1 >= limit else Verdict("mark", lost + 1)
    if lost + count < limit - 1:
        return RUN
    return Verdict("dead", limit) if lost >= limit - 1 else Verdict("mark", limit - 1)


class Held:
    """What this worker had not started when it lost it, and may run without suspicion when it comes again."""

    def __init__(self, window: int = 10_000) -> None:
        self._window = window
        self._counts: OrderedDict[Hashable, int | None] = OrderedDict()

    def lose(self, delivery: Delivery) -> None:
        """A delivery that had not started is the broker's again; one that is a suspect already stays one."""
        if delivery.redelivered and not delivery.excused:
            return
        self._counts[delivery.identity] = deliveries(delivery)
        if len(self._counts) > self._window:
            self._counts.popitem(last=False)

    def excuses(self, delivery: Delivery) -> bool:
        """Was it here last? The broker's count, where there is one, tells whether others had it meanwhile."""
        if delivery.identity not in self._counts:
            return False
        before, now = self._counts.pop(delivery.identity), deliveries(delivery)
        return now is None or now <= (before or 0) + 1
