"""Declares topology steps with plain pika, for tests that need no connection of amqtask's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.topology.declarations import ExchangeBind, ExchangeDeclare, QueueBind, QueueDeclare, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pika.adapters.blocking_connection import BlockingChannel


def declare(channel: BlockingChannel, steps: Iterable[Step]) -> None:
    """Run the steps, in order; a step that the broker refuses raises pika's error."""
    for step in steps:
        arguments = dict(step.arguments)
        match step:
            case ExchangeDeclare():
                channel.exchange_declare(
                    step.name,
                    step.type,
                    durable=step.durable,
                    auto_delete=step.auto_delete,
                    internal=step.internal,
                    arguments=arguments,
                )
            case QueueDeclare():
                channel.queue_declare(step.name, durable=step.durable, arguments=arguments)
            case QueueBind():
                channel.queue_bind(step.queue, step.exchange, step.routing_key, arguments)
            case ExchangeBind():
                channel.exchange_bind(step.destination, step.source, step.routing_key, arguments)
