"""The steps of a topology on a channel of aiormq. Owns their translation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.topology.declarations import ExchangeBind, ExchangeDeclare, QueueBind, QueueDeclare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.topology.declarations import Step


async def declare_step(channel: Any, step: Step) -> None:
    """Have the broker do one step, and await its word."""
    arguments = plain(step.arguments)
    match step:
        case ExchangeDeclare():
            await channel.exchange_declare(
                step.name,
                exchange_type=step.type,
                durable=step.durable,
                auto_delete=step.auto_delete,
                internal=step.internal,
                arguments=arguments,
            )
        case QueueDeclare():
            await channel.queue_declare(
                step.name,
                passive=step.passive,
                durable=step.durable,
                exclusive=step.exclusive,
                auto_delete=step.auto_delete,
                arguments=arguments,
            )
        case QueueBind():
            await channel.queue_bind(step.queue, step.exchange, step.routing_key, arguments=arguments)
        case ExchangeBind():
            await channel.exchange_bind(step.destination, step.source, step.routing_key, arguments=arguments)


def plain(value: Any) -> Any:
    """The same value in the types that pamqp encodes as we do."""
    if isinstance(value, bytes | memoryview):
        return bytearray(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "items"):
        table: Mapping[str, Any] = value
        return {key: plain(item) for key, item in table.items()}
    return value
