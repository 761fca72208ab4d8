"""JSON with Celery's rich types: ``{"__type__": T, "__value__": V}``.

Owns the JSON format. Source of the type names: kombu's json serializer, as recorded on the wire.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

from amqtask.wire.serializers.base import Serializer


def _default(value: Any) -> Any:  # noqa: PLR0911 -- a table of types reads best as one
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):  # before date: a datetime is one
        return {"__type__": "datetime", "__value__": value.isoformat()}
    if isinstance(value, date):
        return {"__type__": "date", "__value__": value.isoformat()}
    if isinstance(value, time):
        return {"__type__": "time", "__value__": value.isoformat()}
    if isinstance(value, uuid.UUID):
        return {"__type__": "uuid", "__value__": {"hex": value.hex}}
    if isinstance(value, Decimal):
        return {"__type__": "decimal", "__value__": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"__type__": "base64", "__value__": b64encode(value).decode("ascii")}
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__qualname__} can't be written as JSON: {value!r:.200}")


_DECODERS = {
    "datetime": datetime.fromisoformat,
    "date": lambda value: datetime.fromisoformat(value).date(),  # kombu writes dates as datetimes
    "time": time.fromisoformat,
    "uuid": lambda value: uuid.UUID(**value),
    "decimal": Decimal,
    "base64": b64decode,
    "bytes": lambda value: value.encode(),
}


def _object_hook(value: dict[str, Any]) -> Any:
    decoder = _DECODERS.get(value["__type__"]) if "__type__" in value and "__value__" in value else None
    return decoder(value["__value__"]) if decoder is not None else value


_encode = json.JSONEncoder(default=_default, ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(object_hook=_object_hook).decode

SERIALIZER = Serializer(
    name="json",
    content_type="application/json",
    content_encoding="utf-8",
    dumps=lambda value: _encode(value).encode("utf-8"),
    loads=lambda data: _decode(data.decode("utf-8")),
)
