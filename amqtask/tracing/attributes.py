"""What spans say of messages and attempts. Owns the attributes; needs nothing of OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.topology.delays import delayed_queues, ladder_level
from amqtask.tracing import names

if TYPE_CHECKING:
    from amqtask.tasks.context import Context
    from amqtask.tasks.middleware import Publishing

    Attributes = dict[str, Any]


def of_message(message: Publishing, operation: str) -> Attributes:
    """Of a message that is about to be sent.

    Args:
        message: as middleware is told of it.
        operation: ``create`` or ``send``.
    """
    exchange, routing_key = message.exchange, message.routing_key
    if ladder_level(exchange) is not None:  # how it waits in the broker says nothing of where it goes
        exchange, routing_key = "", ",".join(delayed_queues(message.headers))
    return {
        **_common(operation, message.task, message.task_id, routing_key),
        names.DESTINATION: _joined(exchange, routing_key),
    }


def of_attempt(request: Context) -> Attributes:
    """Of an attempt that is about to run."""
    exchange, routing_key = request.delivery_info["exchange"], request.delivery_info["routing_key"]
    made = {
        **_common(names.PROCESS, request.task, request.id, routing_key),
        names.DESTINATION: _joined(exchange, routing_key, request.queue),
        names.QUEUE: request.queue,
        names.RETRIES: request.retries,
        names.ROOT_ID: request.root_id,
        names.WORKER: request.hostname,
    }
    return {name: value for name, value in made.items() if value is not None}


def of_batch(count: int) -> Attributes:
    """Of the sending of several messages."""
    return {
        names.SYSTEM: names.RABBITMQ,
        names.OPERATION: names.SEND,
        names.OPERATION_TYPE: names.SEND,
        names.BATCH_COUNT: count,
    }


def _common(operation: str, task: str, task_id: str | None, routing_key: str) -> Attributes:
    made = {
        names.SYSTEM: names.RABBITMQ,
        names.OPERATION: operation,
        names.OPERATION_TYPE: operation,
        names.MESSAGE_ID: task_id,
        names.TASK: task,
        names.TASK_ID: task_id,
        names.ROUTING_KEY: routing_key or None,
    }
    return {name: value for name, value in made.items() if value is not None}


def _joined(*parts: str | None) -> str:
    """A destination in the words of the conventions for RabbitMQ: what there is of exchange, key and queue, once."""
    return ":".join(dict.fromkeys(part for part in parts if part)) or names.DEFAULT_DESTINATION
