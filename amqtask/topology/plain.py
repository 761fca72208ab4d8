"""Queues as Celery declares them, for apps that are members of a Celery deployment. Owns their shape.

A plain queue Q is durable, has the broker's default type and no arguments, and is bound to the direct exchange Q with
key Q. Declaring it once more, here or there, changes nothing. Nothing is dead-lettered out of it by the broker:
the worker publishes what failed to Q.dead, which is as plain. Retries take the delay ladder. Where Celery was told to
declare such a queue in another way, with priorities for instance, it is used as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amqtask.durations import to_milliseconds
from amqtask.topology.declarations import Exchange, ExchangeDeclare, Queue, QueueBind, QueueDeclare
from amqtask.topology.delays import dead_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.topology.declarations import Step


def plain_queue(name: str) -> Queue:
    """The queue that Celery makes of a name."""
    return Queue(name, Exchange(name), name, plain=True)


def made_plain(queue: Queue) -> Queue:
    """The same queue as Celery declares it; without an exchange, it gets the one of its name."""
    if queue.bindings:
        return replace(queue, plain=True)
    return replace(queue, exchange=Exchange(queue.name), routing_key=queue.name, plain=True)


def plain_exchange(exchange: Exchange) -> ExchangeDeclare:
    """The step that declares the exchange of a plain queue."""
    return ExchangeDeclare(
        exchange.name,
        exchange.type,
        durable=exchange.durable,
        auto_delete=exchange.auto_delete,
        arguments=exchange.arguments,
        lenient=True,
    )


def plain_steps(queue: Queue) -> tuple[Step, ...]:
    """Q.dead, Q and its bindings, in this order; without the exchanges of the bindings."""
    binds = (QueueBind(queue.name, one.exchange, one.routing_key, dict(one.arguments)) for one in queue.bindings)
    return (
        QueueDeclare(dead_name(queue.name), lenient=True),
        QueueDeclare(queue.name, durable=queue.durable, arguments=plain_arguments(queue), lenient=True),
        *binds,
    )


def plain_arguments(queue: Queue) -> dict[str, Any]:
    """The x-arguments of Q: none but those that somebody asks for, which are Celery's own."""
    return {**dict(_limits(queue)), **queue.arguments}


def _limits(queue: Queue) -> Iterator[tuple[str, Any]]:
    if queue.max_priority is not None:
        yield "x-max-priority", queue.max_priority
    if queue.max_length is not None:
        yield "x-max-length", queue.max_length
    if queue.max_length_bytes is not None:
        yield "x-max-length-bytes", queue.max_length_bytes
    if queue.message_ttl is not None:
        yield "x-message-ttl", to_milliseconds(queue.message_ttl)
    if queue.expires is not None:
        yield "x-expires", to_milliseconds(queue.expires)
