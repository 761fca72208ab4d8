"""The headers with which a quorum queue tells a consumer how often a message came back, as RabbitMQ 4.3 does."""

from __future__ import annotations

from amqtask.testing.devbroker.engine import headers
from amqtask.testing.devbroker.engine.message import Message


def with_counts(message: Message, acquired: int, failures: int) -> Message:
    """The message with ``x-acquired-count`` and, when there were failures, ``x-delivery-count``.

    Args:
        message: as it was published.
        acquired: how often consumers had it from this queue and gave it back.
        failures: how often a delivery failed, in the queues before it too.
    """
    # A dead letter that nobody had from this queue yet shows its failures elsewhere as both counts.
    changes: dict[bytes, bytes | None] = {b"x-acquired-count": headers.long_integer(acquired or failures)}
    if failures:
        changes[b"x-delivery-count"] = headers.long_integer(failures)
    try:
        header = headers.with_fields(message.header, changes)
    except headers.Malformed:
        return message
    return Message(
        message.exchange,
        message.routing_key,
        header,
        message.body,
        message.copies,
        message.blind_copies,
        message.ttl,
        message.deaths,
        message.failures,
    )
