"""Protocol 1 made protocol 2. Owns that one step, done where messages come in, so that all else knows one format.

Names, ids and retry counts are then in the headers, where a worker looks for them without reading a body, and a retry
changes headers only.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from amqtask.errors import AmqtaskError
from amqtask.wire.accept import without_pickle
from amqtask.wire.codec import decode, encode, serializer_for

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

    from amqtask.wire.message import Properties, PropertiesLike


def upgraded(
    properties: PropertiesLike, body: bytes, accept: Collection[str], zone: tzinfo = UTC
) -> tuple[Properties, bytes] | None:
    """A message of protocol 1 as one of protocol 2; None for any other, and for what can't be read.

    Never raises, and never reads pickle, which is not for an I/O thread. What this leaves alone is for
    :func:`amqtask.wire.codec.decode`, which reads it or says what is wrong.

    Args:
        properties: of the delivery.
        body: as received, maybe compressed.
        accept: names of serializers that may be used.
        zone: of times without an offset.
    """
    headers = properties.headers or {}
    if "task" in headers:
        return None
    accept = without_pickle(accept)
    try:
        message = decode(properties, body, accept, zone)
        message.headers.pop("compression", None)
        made, body = encode(
            message,
            serializer=serializer_for(properties.content_type, accept),
            compression=headers.get("compression"),
            priority=properties.priority,
            reply_to=properties.reply_to,
            message_id=properties.message_id,
        )
    except AmqtaskError:
        return None
    return made._replace(message_id=properties.message_id), body
