"""Where one call goes: what the call says, then the task's options, then the first matching route.

Owns the precedence only; routes are matched by :mod:`amqtask.topology.router`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amqtask.tasks.options import check_destination
from amqtask.topology.declarations import DEFAULT_EXCHANGE

if TYPE_CHECKING:
    from amqtask.tasks.options import SendOptions, TaskOptions
    from amqtask.topology.router import Routing


class Destination(NamedTuple):
    """An exchange and a routing key; AMQP's default exchange takes a queue's name as key."""

    exchange: str
    routing_key: str


def task_destination(routing: Routing, defaults: TaskOptions) -> Destination:
    """Where a task goes when the call says nothing."""
    route = Destination(routing.exchange, routing.routing_key)
    return _override(route, defaults.queue, defaults.exchange, defaults.routing_key)


def call_destination(usual: Destination, options: SendOptions) -> Destination:
    """Where this call goes.

    Raises:
        ConfigError: queue and exchange are both given.
    """
    queue, exchange, key = options.get("queue"), options.get("exchange"), options.get("routing_key")
    check_destination(queue, exchange, key)
    return _override(usual, queue, exchange, key)


def _override(lower: Destination, queue: str | None, exchange: str | None, key: str | None) -> Destination:
    if queue is not None:
        return Destination(DEFAULT_EXCHANGE, queue)
    if exchange is None:
        return lower if key is None else Destination(lower.exchange, key)
    if key is None:  # a key that belonged to another exchange says nothing here
        key = lower.routing_key if exchange == lower.exchange else ""
    return Destination(exchange, key)
