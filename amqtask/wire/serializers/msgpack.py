"""msgpack, with one extension type for what it lacks: datetimes, UUIDs, decimals, sets and long integers.

Owns the msgpack format. Extension 0x2A holds msgpack ``[type name, value]``; plain values stay plain msgpack,
so any msgpack reader understands everything but those. Tuples become lists, enums their values, paths texts.

An extension in an extension is a parser within a parser, each with 40 KB of C stack that Python does not count. So
their depth is bounded here, both ways.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import msgpack

from amqtask.wire.serializers.base import Serializer

if TYPE_CHECKING:
    from collections.abc import Callable

_EXTENSION = 0x2A
_DEEPEST = 16
"""Extensions in one another: sets of sets. A few hundred kill the process, 16 need less than 1 MiB."""
_TOO_DEEP = f"sets and the like are nested deeper than {_DEEPEST}"
_COUNTED_ELSE = (b"celery.group", b"celery.chord")
"""In what is packed where there may be one of Celery's dicts whose ``len()`` counts tasks. msgpack asks a dict
for it, and would announce that many keys."""


def _default(value: Any, levels: int = _DEEPEST) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, range):
        return list(value)
    for kind, name, write in _ENCODERS:
        if isinstance(value, kind):
            if not levels:
                raise ValueError(_TOO_DEEP)
            return msgpack.ExtType(_EXTENSION, _dumps([name, write(value)], _DEFAULTS[levels - 1]))
    raise TypeError(f"{type(value).__qualname__} can't be written as msgpack: {value!r:.200}")


_ENCODERS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat),  # before date: a datetime is one
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (uuid.UUID, "uuid", lambda value: value.bytes),
    (Decimal, "decimal", str),
    (set, "set", list),
    (frozenset, "frozenset", list),
    (int, "int", hex),  # beyond 64 bits; not decimal digits, which Python reads and writes 4,300 of at most
)

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": lambda value: uuid.UUID(bytes=value),
    "decimal": Decimal,
    "set": set,
    "frozenset": frozenset,
    "int": lambda value: int(value, 16),
}


def _reader(levels: int) -> Callable[[int, bytes], Any]:
    """Reads an extension in which there may be others, this many in one another."""
    inner = _reader(levels - 1) if levels > 1 else _refuse

    def read(code: int, data: bytes) -> Any:
        if code != _EXTENSION:
            return msgpack.ExtType(code, data)
        # tuples instead of lists, so that what was in a set can be in one again
        name, value = msgpack.unpackb(data, ext_hook=inner, strict_map_key=False, use_list=False)
        return _DECODERS[name](value)

    return read


def _refuse(code: int, data: bytes) -> Any:
    if code == _EXTENSION:
        raise ValueError(_TOO_DEEP)
    return msgpack.ExtType(code, data)


_ext_hook = _reader(_DEEPEST)
_DEFAULTS = [partial(_default, levels=levels) for levels in range(_DEEPEST)]


def _dumps(value: Any, default: Callable[[Any], Any] = _default) -> bytes:
    packed: bytes = msgpack.packb(value, default=default)
    if any(name in packed for name in _COUNTED_ELSE):
        packed = msgpack.packb(_plain(value), default=default)
    return packed


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _loads(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=_ext_hook, strict_map_key=False, timestamp=3)


SERIALIZER = Serializer(
    name="msgpack",
    content_type="application/x-msgpack",
    content_encoding="binary",
    dumps=_dumps,
    loads=_loads,
)
