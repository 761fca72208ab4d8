"""What to declare when a message found no queue: the part of the topology that its address belongs to.

Owns the way back from an address (exchange, routing key) to declarations. Producers and workers declare on a
miss, so nothing is declared again and again while all is there, and a queue that somebody deletes comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.topology.delays import dead_name, exact_delays, ladder_level, ladder_steps, retry_name
from amqtask.topology.layout import topology_steps

if TYPE_CHECKING:
    from amqtask.topology.declarations import Step, Version
    from amqtask.topology.delays import HolderType
    from amqtask.topology.model import Topology
    from amqtask.topology.router import Router


def missing_steps(
    topology: Topology,
    router: Router,
    exchange: str,
    routing_key: str,
    version: Version,
    ladder_type: HolderType,
) -> tuple[Step, ...]:
    """Steps that give this address a queue; empty when the topology does not know the address."""
    level = ladder_level(exchange)
    if level is not None:
        return ladder_steps(level, ladder_type)
    queues = (
        _queues_around(topology, routing_key)
        if exchange == DEFAULT_EXCHANGE
        else router.queues_for(exchange, routing_key)
    )
    return topology_steps(topology, version, queues) if queues else ()


def _queues_around(topology: Topology, name: str) -> list[str]:
    """The queue that has this name, or whose dead-letter or retry queue has it."""
    if name in topology.queues:
        return [name]
    return [
        queue.name
        for queue in topology.queues.values()
        if name == dead_name(queue.name) or name in {retry_name(queue.name, d) for d in exact_delays(queue)}
    ]
