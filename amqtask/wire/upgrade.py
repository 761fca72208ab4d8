"""Protocol 1 made protocol 2. Owns that one step, done where messages come in, so that all else knows one format.

Names, ids and retry counts are then in the headers, where a worker looks for them without reading a body, and a retry
changes headers only. That is done on the I/O thread, before anything is known of the sender: so only of small bodies.
The pool reads the others as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.wire.accept import without_pickle
from amqtask.wire.codec import decode, encode, serializer_for

if TYPE_CHECKING:
    from collections.abc import Collection

    from amqtask.wire.message import Properties, PropertiesLike

_LARGE = 256 * 1024
"""Bytes of an unpacked body above which it is left alone: hostile ones of this size take 60 ms and 20 MB to read."""


def upgraded(properties: PropertiesLike, body: bytes, accept: Collection[str]) -> tuple[Properties, bytes] | None:
    """A message of protocol 1 as one of protocol 2; None for any other.

    None too for what is large, or can't be read; what was compressed is so no more. Never raises, and never reads
    pickle, which is not for an I/O thread. What is left alone here is for :func:`amqtask.wire.codec.decode`, which
    reads it or says what is wrong.

    Args:
        properties: of the delivery.
        body: as received, maybe compressed.
        accept: names of serializers that may be used.
    """
    headers = properties.headers or {}
    if "task" in headers or len(body) > _LARGE:
        return None
    accept = without_pickle(accept)
    try:
        message = decode(properties, body, accept, _LARGE)
        message.headers.pop("compression", None)
        made, body = encode(
            message,
            serializer=serializer_for(properties.content_type, accept),
            priority=properties.priority,
            reply_to=properties.reply_to,
            message_id=properties.message_id,
        )
    except Exception:  # any client may have written it, and what goes wrong here would end the I/O thread
        return None
    return made._replace(message_id=properties.message_id), body
