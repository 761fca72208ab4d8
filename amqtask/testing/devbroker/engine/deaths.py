"""What a message's content header says of its deaths, as RabbitMQ 4.3 writes it.

Owns the headers ``x-death``, ``x-first-death-*`` and ``x-last-death-*`` and the rule what a cycle is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine import headers
from amqtask.testing.devbroker.engine.message import Death, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

REJECTED, EXPIRED, MAXLEN, DELIVERY_LIMIT = "rejected", "expired", "maxlen", "delivery_limit"


def bury(
    message: Message, queue: str, reason: str, failures: int, now: int, exchange: str, routing_key: str | None
) -> Message:
    """The dead letter that a message becomes.

    Args:
        message: as it was in the queue.
        queue: the queue it leaves.
        reason: why.
        failures: how often its deliveries failed so far.
        now: seconds since 1970.
        exchange: the dead letter exchange.
        routing_key: the queue's dead letter routing key; None keeps the message's keys.
    """
    deaths = _with_death(message, queue, reason, now)
    header = message.header
    try:
        if headers.has(header, headers.EXPIRATION):
            header = headers.without(header, headers.EXPIRATION)
        header = headers.with_fields(header, _fields(deaths, message.header if message.deaths else None))
    except headers.Malformed:
        # A table that can't be read can't be added to; the message itself is passed on as it is.
        header = message.header
    letter = Message(exchange, message.routing_key, header, message.body, deaths=deaths, failures=failures)
    if routing_key is None:
        letter.copies, letter.blind_copies = message.copies, message.blind_copies
    else:
        letter.routing_key = routing_key
    return letter


def is_cycle(message: Message, queue: str) -> bool:
    """Whether a dead letter comes back to a queue it died in, with no client's reject on the way."""
    for death in message.deaths:
        if death.reason == REJECTED:
            return False
        if death.queue == queue:
            return True
    return False


def _with_death(message: Message, queue: str, reason: str, now: int) -> tuple[Death, ...]:
    visible = tuple(key for key in message.routing_keys if key not in message.blind_copies)
    expiration = None if message.ttl is None else str(message.ttl)
    newest = Death(queue, reason, 1, now, message.exchange, visible, expiration)
    others = []
    for death in message.deaths:
        if death.queue == queue and death.reason == reason:
            newest = death._replace(times=death.times + 1)
        else:
            others.append(death)
    return (newest, *others)


def _fields(deaths: tuple[Death, ...], dead: bytes | None) -> dict[bytes, bytes | None]:
    newest = deaths[0]
    last = {b"reason": newest.reason, b"queue": newest.queue, b"exchange": newest.exchange}
    changes: dict[bytes, bytes | None] = {b"x-death": _array(map(_table, deaths))}
    for name, text in last.items():
        changes[b"x-last-death-" + name] = headers.long_string(text)
        if dead is None:
            changes[b"x-first-death-" + name] = headers.long_string(text)
    return changes


def _table(death: Death) -> bytes:
    entries = [
        (b"count", headers.long_integer(death.times)),
        (b"reason", headers.long_string(death.reason)),
        (b"queue", headers.long_string(death.queue)),
        (b"time", b"T" + death.time.to_bytes(8)),
        (b"exchange", headers.long_string(death.exchange)),
        (b"routing-keys", _array(map(headers.long_string, death.routing_keys))),
    ]
    if death.expiration is not None:
        entries.insert(0, (b"original-expiration", headers.long_string(death.expiration)))
    body = b"".join(bytes((len(name),)) + name + value for name, value in entries)
    return b"F" + len(body).to_bytes(4) + body


def _array(values: Iterable[bytes]) -> bytes:
    body = b"".join(values)
    return b"A" + len(body).to_bytes(4) + body
