"""A message as the broker holds it: the bytes the publisher sent, read only where a rule needs it.

Owns nothing but the message. Content headers travel as the bytes they came in, so every field-table type and width
leaves as it arrived; what dead-lettering adds is written into those bytes (see :mod:`.headers`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pamqp.commands import Basic


@dataclass(slots=True, eq=False)
class Message:
    """One message; immutable, so that queues can share it.

    Attributes:
        exchange, routing_key: as published, or as dead-lettered.
        header: payload of the content header frame: class, weight, body size, property flags and properties.
        body: the content.
    """

    exchange: str
    routing_key: str
    header: bytes
    body: bytes
    _properties: Basic.Properties | None = field(default=None, init=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes it counts for: body and content header."""
        return len(self.body) + len(self.header)
