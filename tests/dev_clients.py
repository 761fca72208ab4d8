"""pika on a dev broker, in one line; however the connection ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pika
from pika.exceptions import AMQPError

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel


@contextlib.contextmanager
def opened(url: str, *, confirm: bool = True, **parameters: Any) -> Iterator[BlockingChannel]:
    """A channel on a connection of its own."""
    given = pika.URLParameters(url)
    for name, value in parameters.items():
        setattr(given, name, value)
    connection = pika.BlockingConnection(given)
    try:
        channel = connection.channel()
        if confirm:
            channel.confirm_delivery()
        yield channel
    finally:
        with contextlib.suppress(AMQPError, OSError):
            connection.close()


def bodies(channel: BlockingChannel, queue: str) -> list[bytes]:
    """Everything that waits in a queue; it is taken out."""
    found = []
    while (body := channel.basic_get(queue, auto_ack=True)[2]) is not None:
        found.append(body)
    return found
