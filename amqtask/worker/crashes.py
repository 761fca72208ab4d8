"""Telling a message that kills its worker from one whose worker merely went away (sans I/O).

Owns the verdict on redelivered messages. A broker can't tell a crash from a cut connection, and its count of
deliveries means something else in each RabbitMQ series. So the count only raises a suspicion; a suspect is marked
durably before it starts (published again with one more in ``x-amqtask-lost``), and a marked message that comes back
once more has killed its worker:

    quorum queue, limit 3    run ─✗─► run ─✗─► mark, run ─✗─► dead letter
    classic queue, limit 3   run ─✗─► mark, run ─✗─► mark, run ─✗─► dead letter

Children of a prefork pool don't need this: the parent sees them die and knows what they ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from amqtask.worker.republish import lost_count

if TYPE_CHECKING:
    from amqtask.worker.delivery import Delivery


class Verdict(NamedTuple):
    """What to do with a delivery that is about to start; ``lost`` is the count to mark it with, or to report."""

    action: Literal["run", "mark", "dead"]
    lost: int = 0


RUN = Verdict("run")


def deliveries(delivery: Delivery) -> int | None:
    """How often the broker says this message was delivered before; None where it does not count."""
    count = (delivery.properties.headers or {}).get("x-delivery-count")
    return count if isinstance(count, int) else None


def judge(delivery: Delivery, limit: int) -> Verdict:
    """Judge a delivery.

    Args:
        delivery: about to be handed to the pool.
        limit: deaths after which a message is dead-lettered (``worker_lost_max_deliveries``).
    """
    if not delivery.redelivered:
        return RUN
    lost, count = lost_count(delivery), deliveries(delivery)
    if count is None:
        return Verdict("dead", lost + 1) if lost + 1 >= limit else Verdict("mark", lost + 1)
    if lost + count < limit - 1:
        return RUN
    return Verdict("dead", limit) if lost >= limit - 1 else Verdict("mark", limit - 1)
