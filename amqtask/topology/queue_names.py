"""The queues that people may name: those of a topology, and what is around them. Owns the list and its check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.errors import TopologyError
from amqtask.plugins import did_you_mean
from amqtask.topology.delays import dead_name, exact_delays, retry_name

if TYPE_CHECKING:
    from amqtask.topology.model import Topology


def queue_names(topology: Topology) -> list[str]:
    """Every queue that may be named: those declared, and the retry and dead-letter queues around them."""
    names = []
    for queue in topology.queues.values():
        names += [
            queue.name,
            dead_name(queue.name),
            *(retry_name(queue.name, at) for at in exact_delays(queue)),
        ]
    return names


def check_queue_name(topology: Topology, name: str) -> None:
    """Refuse a queue that is none of ours.

    Raises:
        TopologyError: names the nearest.
    """
    known = queue_names(topology)
    if name not in known and not topology.open:
        hint = did_you_mean(name, known) or f"; there are {', '.join(topology.queues)}"
        raise TopologyError(f"unknown queue {name!r}{hint}")
