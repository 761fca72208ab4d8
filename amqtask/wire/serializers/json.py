"""JSON with Celery's rich types: ``{"__type__": T, "__value__": V}``.

Owns the JSON format. Source of the type names: kombu's json serializer, as recorded on the wire. Tuples and
sets become lists, enums their values, paths texts, and keys of maps texts. What has a method ``__json__`` is written
as what that returns. A map of exactly the two keys whose type is unknown stays a map.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from amqtask.wire.serializers.base import Serializer

if TYPE_CHECKING:
    from collections.abc import Callable


def _default(value: Any) -> Any:
    reduce = getattr(value, "__json__", None)
    if reduce is not None:
        return reduce()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, set | frozenset | range):
        return list(value)
    for kind, name, write in _ENCODERS:
        if isinstance(value, kind):
            return {"__type__": name, "__value__": write(value)}
    if isinstance(value, bytes | bytearray):
        return _bytes(value)
    raise TypeError(f"{type(value).__qualname__} can't be written as JSON: {value!r:.200}")


def _bytes(value: bytes | bytearray) -> dict[str, str]:
    try:
        return {"__type__": "bytes", "__value__": value.decode("utf-8")}
    except UnicodeDecodeError:
        return {"__type__": "base64", "__value__": b64encode(value).decode("ascii")}


_ENCODERS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat),  # before date: a datetime is one
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (uuid.UUID, "uuid", lambda value: {"hex": value.hex}),
    (Decimal, "decimal", str),
)

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda value: datetime.fromisoformat(value).date(),  # kombu writes dates as datetimes
    "time": time.fromisoformat,
    "uuid": lambda value: uuid.UUID(**value),
    "decimal": Decimal,
    "base64": b64decode,
    "bytes": lambda value: value.encode(),
}


def _object_hook(value: dict[str, Any]) -> Any:
    if len(value) == 2 and "__type__" in value and "__value__" in value:  # noqa: PLR2004 -- exactly these two
        decoder = _DECODERS.get(value["__type__"])
        if decoder is not None:
            return decoder(value["__value__"])
    return value


_encode = json.JSONEncoder(default=_default, ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(object_hook=_object_hook).decode

SERIALIZER = Serializer(
    name="json",
    content_type="application/json",
    content_encoding="utf-8",
    dumps=lambda value: _encode(value).encode("utf-8"),
    loads=lambda data: _decode(data.decode("utf-8")),
)
