"""A topology in other people's formats: RabbitMQ definitions, a Mermaid drawing, rows for a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.durations import format_duration
from amqtask.topology.declarations import (
    ExchangeBind,
    ExchangeDeclare,
    QueueBind,
    QueueDeclare,
    Step,
)
from amqtask.topology.delays import dead_name, exact_delays, retry_name
from amqtask.topology.layout import queue_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.topology.declarations import Exchange, Queue, Version
    from amqtask.topology.model import Topology


def definitions(steps: Iterable[Step], vhost: str = "/") -> dict[str, Any]:
    """What ``rabbitmqctl import_definitions FILE`` and the management plugin read, as JSON.

    Args:
        steps: of :func:`amqtask.topology.layout.topology_steps`, and of the delay ladder if that is to exist
            from the start.
        vhost: that the objects are to live in; it must exist.
    """
    exchanges, queues, bindings = [], [], []
    for step in steps:
        if isinstance(step, ExchangeDeclare):
            exchanges.append(
                {
                    "name": step.name,
                    "vhost": vhost,
                    "type": step.type,
                    "durable": step.durable,
                    "auto_delete": step.auto_delete,
                    "internal": step.internal,
                    "arguments": dict(step.arguments),
                }
            )
        elif isinstance(step, QueueDeclare):
            queues.append(
                {
                    "name": step.name,
                    "vhost": vhost,
                    "durable": step.durable,
                    "auto_delete": step.auto_delete,
                    "arguments": dict(step.arguments),
                }
            )
        else:
            bindings.append(_binding_definition(step, vhost))
    return {"exchanges": exchanges, "queues": queues, "bindings": bindings}


def mermaid(topology: Topology) -> str:
    """A flowchart of routes, exchanges, queues and pools, to paste where Mermaid is drawn."""
    lines = ["flowchart LR"]
    ids = _Ids()
    lines.extend(
        f'    {ids.of("x", exchange.name)}{{{{"{_text(exchange.name)}<br/>{exchange.type}"}}}}'
        for exchange in topology.exchanges.values()
    )
    lines.extend(f'    {ids.of("q", queue.name)}[("{_text(queue.name)}")]' for queue in topology.queues.values())
    for number, route in enumerate(topology.routes, start=1):
        target = ids.of("q", route.queue) if route.queue is not None else ids.of("x", route.exchange or "")
        key = f'|"{_text(route.routing_key)}"|' if route.routing_key else ""
        lines.append(f'    r{number}["{_text(route.task)}"] -->{key} {target}')
    for exchange in topology.exchanges.values():
        lines.extend(_exchange_edges(exchange, ids))
    for queue in topology.queues.values():
        lines.extend(_queue_edges(queue, ids))
    for number, pool in enumerate(topology.pools.values(), start=1):
        lines.append(f'    p{number}(["pool {_text(pool.name)}"])')
        lines.extend(f"    {ids.of('q', name)} --> p{number}" for name in pool.queues)
    return "\n".join(lines) + "\n"


def exchange_rows(topology: Topology) -> list[tuple[str, str, str]]:
    """For a table: name, type, alternate exchange."""
    return [(item.name, item.type, item.alternate or "") for item in topology.exchanges.values()]


def queue_rows(topology: Topology, version: Version | None = None) -> list[tuple[str, str, str, str, str]]:
    """For a table: name, type, highest priority, retries, what it is bound to.

    Args:
        topology: to show.
        version: of the broker, on which the type may depend; None stands for the newest.
    """
    return [
        (
            queue.name,
            queue_type(queue, version),
            "" if queue.max_priority is None else str(queue.max_priority),
            _retry_words(queue),
            ", ".join(f"{b.exchange} ({b.routing_key})" for b in queue.bindings),
        )
        for queue in topology.queues.values()
    ]


def route_rows(topology: Topology) -> list[tuple[str, str, str, str]]:
    """For a table: number, tasks, target, priority; the default queue is the last row."""
    rows = [
        (
            str(number),
            route.task,
            f"queue {route.queue}" if route.queue is not None else f"{route.exchange} ({route.routing_key or ''})",
            "" if route.priority is None else str(route.priority),
        )
        for number, route in enumerate(topology.routes, start=1)
    ]
    return [*rows, ("", "(any other)", f"queue {topology.default_queue.name}", "")]


def pool_rows(topology: Topology) -> list[tuple[str, str, str, str, str]]:
    """For a table: name, queues with weights, order, pool implementation, concurrency."""
    return [
        (
            pool.name,
            ", ".join(name if weight == 1 else f"{name}:{weight}" for name, weight in pool.queues.items()),
            pool.order,
            pool.pool or "",
            "" if pool.concurrency is None else str(pool.concurrency),
        )
        for pool in topology.pools.values()
    ]


class _Ids:
    """Short node names: Mermaid gives a meaning to many characters and words that AMQP allows in names."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def of(self, kind: str, name: str) -> str:
        return self._known.setdefault((kind, name), f"{kind}{len(self._known) + 1}")


def _exchange_edges(exchange: Exchange, ids: _Ids) -> list[str]:
    own = ids.of("x", exchange.name)
    edges = [
        f"    {ids.of('x', binding.exchange)} -->{_label(binding.routing_key)} {own}" for binding in exchange.bindings
    ]
    if exchange.alternate is not None:
        edges.append(f'    {own} -. "unroutable" .-> {ids.of("x", exchange.alternate)}')
    return edges


def _queue_edges(queue: Queue, ids: _Ids) -> list[str]:
    own = ids.of("q", queue.name)
    edges = [
        f"    {ids.of('x', binding.exchange)} -->{_label(binding.routing_key)} {own}" for binding in queue.bindings
    ]
    for delay in exact_delays(queue):
        waiting = ids.of("w", retry_name(queue.name, delay))
        edges.append(f'    {own} -. retry .-> {waiting}[("{_text(retry_name(queue.name, delay))}")] -.-> {own}')
    dead = dead_name(queue.name)
    edges.append(f'    {own} -. failed .-> {ids.of("d", dead)}[("{_text(dead)}")]')
    return edges


def _label(routing_key: str) -> str:
    return f'|"{_text(routing_key)}"|' if routing_key else ""


def _text(text: str | None) -> str:
    """Mermaid reads entity codes inside quoted text; ``#`` starts one."""
    return (text or "").replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _binding_definition(step: QueueBind | ExchangeBind, vhost: str) -> dict[str, Any]:
    to_queue = isinstance(step, QueueBind)
    return {
        "source": step.exchange if isinstance(step, QueueBind) else step.source,
        "vhost": vhost,
        "destination": step.queue if isinstance(step, QueueBind) else step.destination,
        "destination_type": "queue" if to_queue else "exchange",
        "routing_key": step.routing_key,
        "arguments": dict(step.arguments),
    }


def _retry_words(queue: Queue) -> str:
    policy = queue.retry
    if policy is None:
        return ""
    words = ", ".join(format_duration(delay) for delay in policy.delays) or "backoff"
    limit = "unlimited" if policy.max_retries is None else f"at most {policy.max_retries}"
    return f"{words}; {limit}"
