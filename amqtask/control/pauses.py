"""Queues that are paused, for workers that run and those that start later. Owns how the broker knows of it.

A paused queue is a binding: exchange and queue ``amqtask.paused``, with the name of the paused queue as the key. So a
message to that exchange is routed if, and only if, the queue is paused: mandatory publishing asks, without an error on
either side, and binding twice is the same as once. The queue keeps nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amqtask.broker.admin import Admin
from amqtask.errors import Unroutable
from amqtask.topology.declarations import ExchangeDeclare, QueueBind, QueueDeclare
from amqtask.wire.message import TRANSIENT, Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.broker.interface import Reachable
    from amqtask.topology.declarations import Step

NAME = "amqtask.paused"
"""Name of the exchange and of the queue behind it."""


def steps() -> tuple[Step, ...]:
    """Exchange and queue."""
    return (
        ExchangeDeclare(NAME, "direct", lenient=True),
        QueueDeclare(NAME, arguments={"x-max-length": 0}, lenient=True),
    )


def question(queue: str) -> Outgoing:
    """Published as mandatory: routed if the queue is paused, else returned."""
    return Outgoing(NAME, queue, Properties(delivery_mode=TRANSIENT), b"")


def admin(app: Reachable) -> Admin:
    """A blocking connection, as a context manager."""
    return Admin(app.broker_urls, replace(app.connection_options, name=f"{app.connection_options.name} (control)"))


def pause(app: Reachable, queue: str) -> None:
    """Note that a queue is paused. Raises BrokerError."""
    with admin(app) as broker:
        for step in (*steps(), QueueBind(NAME, NAME, queue)):
            broker.declare(step)


def resume(app: Reachable, queue: str) -> None:
    """Note that it is not. Raises BrokerError."""
    with admin(app) as broker:
        for step in steps():
            broker.declare(step)
        broker.unbind(NAME, NAME, queue)


def paused(broker: Admin, queues: Iterable[str]) -> set[str]:
    """Those of the queues that are paused; changes nothing. Raises BrokerError."""
    if not broker.exists(steps()[0]):
        return set()
    return {queue for queue in queues if _is_routed(broker, question(queue))}


def _is_routed(broker: Admin, message: Outgoing) -> bool:
    try:
        broker.publish(message)
    except Unroutable:
        return False
    return True
