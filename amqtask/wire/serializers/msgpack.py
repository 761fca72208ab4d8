"""msgpack, with one extension type for what it lacks: datetimes, UUIDs, decimals, sets, paths.

Owns the msgpack format. Extension 0x2A holds msgpack ``[type name, value]``; plain values stay plain msgpack,
so any msgpack reader understands everything but those.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgpack

from amqtask.wire.serializers.base import Serializer

_EXTENSION = 0x2A


def _default(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):  # before date: a datetime is one
        pair: list[Any] = ["datetime", value.isoformat()]
    elif isinstance(value, date | time):
        pair = [type(value).__name__, value.isoformat()]
    elif isinstance(value, uuid.UUID):
        pair = ["uuid", value.bytes]
    elif isinstance(value, Decimal):
        pair = ["decimal", str(value)]
    elif isinstance(value, set | frozenset):
        pair = ["set", list(value)]
    elif isinstance(value, int):
        pair = ["int", str(value)]  # beyond 64 bits
    elif isinstance(value, PurePath):
        return str(value)
    else:
        raise TypeError(f"{type(value).__qualname__} can't be written as msgpack: {value!r:.200}")
    return msgpack.ExtType(_EXTENSION, _dumps(pair))


_DECODERS = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": lambda value: uuid.UUID(bytes=value),
    "decimal": Decimal,
    "set": set,
    "int": int,
}


def _ext_hook(code: int, data: bytes) -> Any:
    if code != _EXTENSION:
        return msgpack.ExtType(code, data)
    name, value = _loads(data)
    return _DECODERS[name](value)


def _dumps(value: Any) -> bytes:
    return msgpack.packb(value, default=_default)  # type: ignore[no-any-return]


def _loads(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=_ext_hook, strict_map_key=False)


SERIALIZER = Serializer(
    name="msgpack",
    content_type="application/x-msgpack",
    content_encoding="binary",
    dumps=_dumps,
    loads=_loads,
)
