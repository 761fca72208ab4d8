"""A message as the broker holds it: the bytes the publisher sent, read only where a rule needs it.

Owns nothing but the message. Content headers travel as the bytes they came in, so every field-table type and width
leaves as it arrived; what dead-lettering adds is written into those bytes (see ``deaths``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

OVERHEAD = 400
"""Bytes that Python needs to hold a message and its place in a queue, so that many tiny ones count too."""


class Death(NamedTuple):
    """That a message left a queue as a dead letter, for one queue and reason."""

    queue: str
    reason: str
    """``rejected``, ``expired``, ``maxlen`` or ``delivery_limit``."""
    times: int
    time: int
    """Seconds since 1970 of the first such death."""
    exchange: str
    """Where it had been published to."""
    routing_keys: tuple[str, ...]
    expiration: str | None
    """The expiration it lost by this."""


@dataclass(slots=True, eq=False)
class Message:
    """One message; not changed once it is in a queue, so that queues can share it.

    Attributes:
        exchange: the exchange it was published to, or dead-lettered to.
        routing_key: its first routing key.
        header: payload of the content header frame: class, weight, body size, property flags and properties.
        body: the content.
        copies: further routing keys from the header CC.
        blind_copies: further routing keys from the header BCC, which consumers don't see.
        ttl: milliseconds that the publisher gave it.
        deaths: its history as a dead letter, newest first; only the broker's own notes, never what a client sent.
        failures: how often its deliveries had failed when it became a dead letter; counts on in the next queue.
    """

    exchange: str
    routing_key: str
    header: bytes
    body: bytes
    copies: tuple[str, ...] = ()
    blind_copies: tuple[str, ...] = ()
    ttl: int | None = None
    deaths: tuple[Death, ...] = ()
    failures: int = 0

    @property
    def size(self) -> int:
        """Bytes it counts for: body, content header and what holding it takes."""
        return len(self.body) + len(self.header) + OVERHEAD

    @property
    def routing_keys(self) -> tuple[str, ...]:
        """Every key it is routed by."""
        return (self.routing_key, *self.copies, *self.blind_copies)
