"""Commands about queues."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask.broker.content import check_short
from amqtask.broker.declare import declare_steps
from amqtask.control.registry import control_command, inspect_command
from amqtask.durations import to_milliseconds
from amqtask.plugins import did_you_mean
from amqtask.topology.declarations import ExchangeDeclare, QueueBind
from amqtask.topology.layout import topology_steps
from amqtask.worker.control.dispatch import Refused
from amqtask.worker.control.panel import own
from amqtask.worker.control.words import names

if TYPE_CHECKING:
    from amqtask.broker.interface import Connection
    from amqtask.control.registry import Panel
    from amqtask.errors import AmqtaskError
    from amqtask.topology.declarations import Step

logger = logging.getLogger("amqtask.worker.control")

CANCELLED = "cancelled"
"""Why a queue is not consumed; see :meth:`amqtask.worker.consumer.Consumers.stop`."""

_LONGEST_END = ".retry.1000000000000"
"""What is added to the name of a queue, at most: for others beside it, and for consumers."""

_TYPES = ("direct", "topic", "fanout", "headers")


@inspect_command()
def active_queues(panel: Panel, **_: Any) -> list[dict[str, Any]]:
    """Queues that are consumed."""
    return [_described(panel, name) for name in panel.worker.consumers.consumed]


def _described(panel: Panel, name: str) -> dict[str, Any]:
    topology = panel.app.topology
    queue = topology.queue(name)
    binding = queue.bindings[0] if queue.bindings else None
    exchange = "" if binding is None else binding.exchange
    kind = topology.exchanges[exchange].type if exchange in topology.exchanges else "direct"
    return {
        "name": name,
        "exchange": {
            "name": exchange, "type": kind, "arguments": None, "durable": True, "passive": False, "auto_delete": False,
            "delivery_mode": None, "no_declare": False,
        },
        "routing_key": name if binding is None else binding.routing_key,
        "queue_arguments": dict(queue.arguments) or None,
        "binding_arguments": None,
        "consumer_arguments": None,
        "durable": queue.durable,
        "exclusive": False,
        "auto_delete": False,
        "no_ack": False,
        "alias": None,
        "bindings": [{"exchange": one.exchange, "routing_key": one.routing_key} for one in queue.bindings[1:]],
        "no_declare": None,
        "expires": None if queue.expires is None else queue.expires.total_seconds(),
        "message_ttl": None if queue.message_ttl is None else to_milliseconds(queue.message_ttl) / 1000,
        "max_length": queue.max_length,
        "max_length_bytes": queue.max_length_bytes,
        "max_priority": queue.max_priority,
    }  # fmt: skip


@inspect_command()
def prefetch(panel: Panel, **_: Any) -> dict[str, int]:
    """Messages that may be held, per queue that is consumed."""
    return dict(panel.worker.consumers.consumed)


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="QUEUE [EXCHANGE [TYPE [ROUTING_KEY]]]",
)
def add_consumer(
    panel: Panel,
    queue: Any,
    exchange: Any = None,
    exchange_type: Any = None,
    routing_key: Any = None,
    **_: Any,
) -> dict[str, str]:
    """Consume another queue; one of the topology, or in a Celery deployment any."""
    (name,) = names(queue) or [""]
    worker = panel.worker
    if not name:
        raise Refused("which queue?")
    if worker.connection is None:
        raise Refused("there is no connection to the broker just now")
    check_short("name of the queue", f"{panel.hostname}:{name}{_LONGEST_END}")
    binding = _binding(name, exchange, exchange_type or "direct", routing_key) if exchange else []
    consumers, connection = worker.consumers, worker.connection
    known = name in consumers.names
    worker.add_queue(name)  # raises for one that the topology does not have
    if not known:
        consumers.stop(name, CANCELLED, lambda: None)
        own(panel).pausing.ask([name])
    _declare(panel, connection, name, binding, known=known)
    return {"ok": f"add consumer {name}"}


def _binding(queue: str, exchange: Any, kind: Any, routing_key: Any) -> list[Step]:
    key = queue if routing_key is None else routing_key
    if not isinstance(exchange, str) or not isinstance(key, str) or kind not in _TYPES:
        raise Refused(f"not an exchange: {exchange!r:.100} of type {kind!r:.100}; types are {', '.join(_TYPES)}")
    check_short("exchange", exchange)
    check_short("routing key", key)
    return [ExchangeDeclare(exchange, kind, lenient=True), QueueBind(queue, exchange, key)]


def _declare(panel: Panel, connection: Connection, name: str, binding: list[Step], *, known: bool) -> None:
    consumers, app = panel.worker.consumers, panel.app
    steps = [] if app.settings.topology_mode == "none" else topology_steps(app.topology, connection.version, [name])

    def declared(error: AmqtaskError | None) -> None:
        if error is not None:
            logger.error("Queue %s can't be consumed: %s", name, error)
            if not known:  # or each connection from now on would begin with the same refusal
                consumers.remove(name)
        elif name in consumers.names:
            consumers.go_on(name, CANCELLED)

    declare_steps(connection, [*steps, *binding], declared)


@control_command(args=[("queue", str)], signature="QUEUE")
def cancel_consumer(panel: Panel, queue: Any, **_: Any) -> dict[str, str]:
    """No longer consume a queue, until add_consumer or a restart."""
    name = _consumed(panel, queue)
    panel.worker.consumers.stop(name, CANCELLED, lambda: None)
    return {"ok": f"no longer consuming from {name}"}


@control_command(args=[("queue", str)], signature="QUEUE")
def pause(panel: Panel, queue: Any, **_: Any) -> dict[str, str]:
    """Start nothing more of a queue; what has not started goes back. 'amqtask queue pause' makes it last."""
    if not _is_consumed(panel, queue):
        return {"ok": f"not consuming from {queue}"}
    own(panel).pausing.pause(queue)
    return {"ok": f"paused {queue}"}


@control_command(args=[("queue", str)], signature="QUEUE")
def resume(panel: Panel, queue: Any, **_: Any) -> dict[str, str]:
    """Go on with a paused queue."""
    if not _is_consumed(panel, queue):
        return {"ok": f"not consuming from {queue}"}
    own(panel).pausing.resume(queue)
    return {"ok": f"resumed {queue}"}


def _is_consumed(panel: Panel, queue: Any) -> bool:
    """Is it consumed here? One that nobody can know is refused."""
    if queue in panel.worker.consumers.names:
        return True
    topology = panel.app.topology
    if queue not in topology.queues and not topology.open:
        raise Refused(f"unknown queue {queue!r:.200}{did_you_mean(str(queue), topology.queues)}")
    return False


def _consumed(panel: Panel, queue: Any) -> str:
    known = panel.worker.consumers.names
    if not isinstance(queue, str) or queue not in known:
        raise Refused(f"not consuming from {queue!r:.200}{did_you_mean(str(queue), known)}")
    return queue
