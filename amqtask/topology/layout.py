"""What lands on the broker: declarations to ordered steps.

For a queue Q::

    producers ──► Q ──(rejected, delivery limit, message TTL)──► Q.dead
                  ▲                                                 ▲
                  └──(TTL)── Q.retry.5000 ◄── worker: a retry       └── worker: failed for good, ...

Owns names, types and arguments of Q, Q.retry.<ms> and Q.dead; :mod:`amqtask.topology.delays` owns the
ladder. The steps depend on the broker's version only where RabbitMQ's features do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from amqtask.durations import to_milliseconds
from amqtask.topology.declarations import (
    DEFAULT_EXCHANGE,
    Exchange,
    ExchangeBind,
    ExchangeDeclare,
    Queue,
    QueueBind,
    QueueDeclare,
    QueueType,
    Step,
    Version,
)
from amqtask.topology.delays import (
    NO_LIMIT,
    HolderType,
    dead_name,
    exact_delays,
    exit_step,
    holding_arguments,
    retry_name,
)
from amqtask.topology.plain import plain_arguments, plain_exchange, plain_steps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from amqtask.topology.model import Topology

NATIVE_PRIORITIES = (4, 3)
"""From this version on quorum queues rank priorities themselves, without an argument."""


def queue_type(queue: Queue, version: Version | None) -> QueueType:
    """The type the queue has on a broker of this version; None stands for the newest."""
    raw = queue.arguments.get("x-queue-type")
    if raw is not None:
        return cast("QueueType", raw)  # whether it is one is for the checks to say
    if queue.type is not None:
        return queue.type
    if queue.plain:
        return "classic"
    native = version is None or version.at_least(*NATIVE_PRIORITIES)
    return "quorum" if queue.max_priority is None or native else "classic"


def holder_type(queue: Queue) -> HolderType:
    """Type of Q.retry.* and Q.dead: classic only for a queue that is declared classic.

    A queue that is classic only for the sake of its priorities still gets quorum holders: they hand retries
    on at least once.
    """
    return "classic" if "classic" in (queue.type, queue.arguments.get("x-queue-type")) else "quorum"


def queue_steps(queue: Queue, version: Version) -> tuple[Step, ...]:
    """Q.dead, Q.retry.*, Q and Q's bindings, in this order; without the exchanges of the bindings."""
    if queue.plain:
        return plain_steps(queue)
    holder = holder_type(queue)
    steps: list[Step] = [QueueDeclare(dead_name(queue.name), arguments=_dead_arguments(queue, holder))]
    for delay in exact_delays(queue):
        waiting = holding_arguments(holder, DEFAULT_EXCHANGE, queue.name)
        waiting["x-message-ttl"] = to_milliseconds(delay)
        steps.append(QueueDeclare(retry_name(queue.name, delay), arguments=waiting))
    steps.append(QueueDeclare(queue.name, durable=queue.durable, arguments=queue_arguments(queue, version)))
    steps.extend(
        QueueBind(queue.name, binding.exchange, binding.routing_key, dict(binding.arguments))
        for binding in queue.bindings
        if binding.exchange != DEFAULT_EXCHANGE
    )
    return tuple(steps)


def exchange_steps(exchange: Exchange) -> tuple[Step, ...]:
    """The exchange and its bindings to other exchanges, which must exist already; nothing for ``amq.*``."""
    steps: list[Step] = []
    if not exchange.name.startswith("amq."):
        arguments = dict(exchange.arguments)
        if exchange.alternate is not None:
            arguments.setdefault("alternate-exchange", exchange.alternate)
        steps.append(
            ExchangeDeclare(
                exchange.name,
                exchange.type,
                durable=exchange.durable,
                auto_delete=exchange.auto_delete,
                internal=exchange.internal,
                arguments=arguments,
            )
        )
    steps.extend(
        ExchangeBind(exchange.name, binding.exchange, binding.routing_key, dict(binding.arguments))
        for binding in exchange.bindings
    )
    return tuple(steps)


def topology_steps(topology: Topology, version: Version, queues: Collection[str] | None = None) -> tuple[Step, ...]:
    """Everything for these queues: exchanges, then their bindings, then the queues; without the delay ladder.

    Args:
        topology: what is declared.
        version: of the broker.
        queues: names of queues; None is all of them and every exchange. With names, only the exchanges whose
            messages can reach one of them are included.

    Raises:
        TopologyError: a name that is not declared.
    """
    chosen = list(topology.queues.values()) if queues is None else [topology.queue(name) for name in queues]
    wanted = None if queues is None else _feeding(topology, chosen)
    exchanges = [
        step
        for exchange in topology.exchanges.values()
        if wanted is None or exchange.name in wanted
        for step in exchange_steps(exchange)
    ]
    plain = {q.exchange.name: plain_exchange(q.exchange) for q in chosen if q.plain and q.exchange is not None}
    declares = [step for step in exchanges if isinstance(step, ExchangeDeclare) and step.name not in plain]
    binds = [step for step in exchanges if isinstance(step, ExchangeBind)]
    return (*declares, *plain.values(), *binds, *(step for queue in chosen for step in queue_steps(queue, version)))


def exit_steps(topology: Topology) -> tuple[Step, ...]:
    """The queues by which delayed messages leave the ladder for queues of the topology, where they need one."""
    return tuple(exit_step(queue.name) for queue in topology.queues.values() if queue.has_exit)


def queue_arguments(queue: Queue, version: Version) -> dict[str, Any]:
    """The x-arguments of Q itself; raw ``arguments`` win over derived ones."""
    if queue.plain:
        return plain_arguments(queue)
    kind = queue_type(queue, version)
    drops = queue.arguments.get("x-overflow", queue.overflow) == "drop-head"
    arguments: dict[str, Any] = {
        "x-queue-type": kind,
        "x-dead-letter-exchange": DEFAULT_EXCHANGE,
        "x-dead-letter-routing-key": dead_name(queue.name),
        "x-overflow": queue.overflow,
    }
    if kind == "quorum":
        arguments["x-delivery-limit"] = queue.delivery_limit
        # at-least-once needs reject-publish: a queue that drops its head can't wait for a confirm
        arguments["x-dead-letter-strategy"] = "at-most-once" if drops else "at-least-once"
        if queue.consumer_timeout is not None and version.at_least(4, 3):
            arguments["x-consumer-timeout"] = to_milliseconds(queue.consumer_timeout)
    if kind == "classic" and queue.max_priority is not None:
        arguments["x-max-priority"] = queue.max_priority
    arguments.update(_limits(queue))
    arguments.update(queue.arguments)
    return arguments


def _limits(queue: Queue) -> Iterator[tuple[str, Any]]:
    if queue.max_length is not None:
        yield "x-max-length", queue.max_length
    if queue.max_length_bytes is not None:
        yield "x-max-length-bytes", queue.max_length_bytes
    if queue.message_ttl is not None:
        yield "x-message-ttl", to_milliseconds(queue.message_ttl)
    if queue.expires is not None:
        yield "x-expires", to_milliseconds(queue.expires)
    if queue.single_active_consumer:
        yield "x-single-active-consumer", True


def _dead_arguments(queue: Queue, holder: HolderType) -> dict[str, Any]:
    arguments: dict[str, Any] = {"x-queue-type": holder}
    if holder == "quorum":
        # looking at a dead message counts as a delivery, and must never be what removes it
        arguments["x-delivery-limit"] = NO_LIMIT
    if queue.dead_letter.ttl is not None:
        arguments["x-message-ttl"] = to_milliseconds(queue.dead_letter.ttl)
    if queue.dead_letter.max_length is not None:
        arguments["x-max-length"] = queue.dead_letter.max_length
        arguments["x-overflow"] = "drop-head"
    return arguments


def _feeding(topology: Topology, queues: list[Queue]) -> set[str]:
    """Exchanges whose messages can reach the queues: by bindings of any depth, or as somebody's alternate."""
    wanted = {binding.exchange for queue in queues for binding in queue.bindings}
    while True:
        more = set(wanted)
        for exchange in topology.exchanges.values():
            if exchange.name in wanted:
                more.update(binding.exchange for binding in exchange.bindings)
                more.update([exchange.alternate] if exchange.alternate else [])
            elif exchange.alternate in wanted:
                more.add(exchange.name)
        if more == wanted:
            return wanted
        wanted = more
