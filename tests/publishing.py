"""Shared by the publishing tests: transports that are closed, messages, and what a queue holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pika
from waiting import wait_for

from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.sync import SyncTransport
from amqtask.broker.url import parse_urls
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.message import Outgoing, Properties

OPTIONS = ConnectionOptions(name="test", heartbeat=10, connect_timeout=10.0)


def transport(url: str | Sequence[str], options: ConnectionOptions = OPTIONS) -> SyncTransport:
    return SyncTransport(parse_urls(url), options)


def message(
    queue: str,
    message_id: str = "m",
    body: bytes = b"body",
    *,
    exchange: str = "",
    properties: Properties | None = None,
) -> Outgoing:
    given = properties or Properties()
    return Outgoing(exchange, queue, given._replace(message_id=message_id), body)


def declare(url: str, *queues: str, arguments: dict[str, object] | None = None) -> None:
    """Make durable classic queues."""
    with Admin(parse_urls(url), OPTIONS) as admin:
        for queue in queues:
            admin.declare(QueueDeclare(queue, arguments=arguments or {}))


def drain(url: str, queue: str) -> Counter[str]:
    """Take everything out of a queue that nobody else consumes; how often each message id was there."""
    found: Counter[str] = Counter()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    left = channel.queue_declare(queue, passive=True).method.message_count
    if left:
        for _, properties, _ in channel.consume(queue, auto_ack=True):
            found[properties.message_id or ""] += 1
            left -= 1
            if not left:
                break
    connection.close()
    return found


__all__ = ["OPTIONS", "declare", "drain", "message", "transport", "wait_for"]
