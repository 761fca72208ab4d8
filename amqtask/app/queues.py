"""The queues of a topology as they are on the broker just now: how full, and which are paused. Owns asking for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.control.pauses import paused
from amqtask.errors import BrokerBlocked
from amqtask.topology.declarations import QueueDeclare
from amqtask.topology.delays import LEVELS, dead_name, exact_delays, ladder_steps, retry_name

if TYPE_CHECKING:
    from amqtask.broker.admin import Admin
    from amqtask.topology.declarations import Queue
    from amqtask.topology.model import Topology


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """A queue with what is around it; None for what does not exist.

    Attributes:
        queue: its name.
        ready: messages that wait.
        consumers: of it.
        retrying: messages that wait for their next attempt.
        dead: dead letters.
    """

    queue: str
    ready: int | None
    consumers: int | None
    retrying: int
    dead: int | None


@dataclass(frozen=True, slots=True)
class Fill:
    """All queues of a topology.

    Attributes:
        queues: in its order.
        delayed: messages in the delay ladder, whatever app they belong to; None when it was never used.
        paused: names of those that are; None when the broker blocks publishers, and so can't be asked.
    """

    queues: tuple[QueueNumbers, ...]
    delayed: int | None
    paused: frozenset[str] | None


def look(admin: Admin, topology: Topology) -> Fill:
    """Ask the broker. The connection may be gone afterwards.

    Args:
        admin: open, with a short ``blocked_timeout``; only what is paused is asked by publishing.
        topology: whose queues.

    Raises:
        BrokerError: it does not answer, or does not let us ask.
    """
    rows = tuple(_row(admin, declared) for declared in topology.queues.values())
    delayed = _delayed(admin)
    try:
        names: frozenset[str] | None = frozenset(paused(admin, topology.queues))
    except BrokerBlocked:
        names = None
    return Fill(rows, delayed, names)


def _row(admin: Admin, declared: Queue) -> QueueNumbers:
    state = admin.queue_state(declared.name)
    waiting = [_ready(admin, retry_name(declared.name, delay)) for delay in exact_delays(declared)]
    return QueueNumbers(
        queue=declared.name,
        ready=None if state is None else state.ready,
        consumers=None if state is None else state.consumers,
        retrying=sum(number or 0 for number in waiting),
        dead=_ready(admin, dead_name(declared.name)),
    )


def _ready(admin: Admin, name: str) -> int | None:
    state = admin.queue_state(name)
    return None if state is None else state.ready


def _delayed(admin: Admin) -> int | None:
    # levels are made from the bottom up, so the first queue that is missing ends the search
    total = None
    for step in ladder_steps(LEVELS - 1):
        if isinstance(step, QueueDeclare):
            ready = _ready(admin, step.name)
            if ready is None:
                break
            total = (total or 0) + ready
    return total
