"""Message properties to the bytes of an AMQP content header, checked before anything is sent.

Owns the encoding of properties and field tables on the publishing side. pika's own encoder truncates or refuses some
types with poor messages and tells sizes only by encoding twice; here every message is encoded once, in the thread of
the caller, and the exact size is known before a byte is written. Receiving stays with pika.
"""

from __future__ import annotations

import calendar
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from amqtask.errors import EncodeError, MessageTooLarge

if TYPE_CHECKING:
    from amqtask.broker.interface import ConnectionOptions
    from amqtask.wire.message import Outgoing, Properties

FRAME_MAX = 131_072
"""RabbitMQ's default for the largest frame; taken until a connection says otherwise."""

_HEADROOM = 4096
"""Bytes a content header stays below the largest frame: a frame above it costs the whole connection."""

_SHORT = 255
_INT32 = 2**31
_INT64 = 2**63
_LENGTHS = tuple(bytes((n,)) for n in range(_SHORT + 1))
_pack_long = struct.Struct(">I").pack
_pack_int32 = struct.Struct(">ci").pack
_pack_int64 = struct.Struct(">cq").pack
_pack_flags = struct.Struct(">H").pack

_names: dict[str, bytes] = {}
_NAMES_KEPT = 1024


class _RefusedError(Exception):
    """A value that AMQP tables can't carry: the path to it and why."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason, self.path = reason, path


def seal(message: Outgoing, options: ConnectionOptions, frame_max: int = FRAME_MAX) -> bytes:
    """Check a message and encode its properties.

    Args:
        message: what is about to be published.
        options: for ``max_message_size``.
        frame_max: bytes, as negotiated with the broker.

    Returns:
        Property flags and values, as they stand in a content header frame.

    Raises:
        MessageTooLarge: body over ``max_message_size``, or properties over the largest frame less 4 KiB.
        EncodeError: a property or header of a type or length that AMQP can't carry; says which.
    """
    if len(message.body) > options.max_message_size:
        raise MessageTooLarge(
            f"the body has {len(message.body)} bytes, more than the limit of {options.max_message_size}; "
            "keep large data elsewhere and send a reference"
        )
    check_short("exchange", message.exchange)
    check_short("routing key", message.routing_key)
    header = encode_properties(message.properties)
    limit = (frame_max or FRAME_MAX) - _HEADROOM
    if len(header) > limit:
        raise MessageTooLarge(f"the headers take {len(header)} bytes, more than the limit of {limit}")
    return header


def encode_properties(properties: Properties) -> bytes:
    """Flags and values of basic properties in AMQP's encoding.

    Raises:
        EncodeError: see :func:`seal`.
    """
    flags = 0
    parts = [b""]
    for value, (flag, name, encode) in zip(properties, _FIELDS, strict=True):
        if value is not None:
            flags |= flag
            try:
                parts.append(encode(name, value))
            except UnicodeEncodeError as error:
                raise EncodeError(f"message property {name} holds text that can't be sent: {error}") from None
    parts[0] = _pack_flags(flags)
    return b"".join(parts)


def check_short(name: str, text: str) -> None:
    """Raise EncodeError unless it is a text that fits one of AMQP's short strings (255 bytes of UTF-8)."""
    if not isinstance(text, str):  # it may come from somebody else's message
        raise EncodeError(f"the {name} must be a str, not {type(text).__name__}")
    # four bytes a character at most, so a shorter text needs no second look
    if len(text) <= _SHORT // 4 and text.isascii():
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise EncodeError(f"the {name} {text[:40]!r} is not text that can be sent: {error}") from None
    if size > _SHORT:
        raise EncodeError(f"the {name} {text[:40]!r}... has {size} bytes; AMQP allows {_SHORT}")


def _short(name: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise EncodeError(f"message property {name} must be a str, not {type(value).__name__}")
    data = value.encode()
    if len(data) > _SHORT:
        raise EncodeError(f"message property {name} has {len(data)} bytes; AMQP allows {_SHORT}")
    return _LENGTHS[len(data)] + data


def _octet(name: str, value: Any) -> bytes:
    if not isinstance(value, int) or not 0 <= value <= _SHORT:
        raise EncodeError(f"message property {name} must be an integer from 0 to 255, not {value!r}")
    return _LENGTHS[value]


def _seconds(name: str, value: Any) -> bytes:
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise EncodeError(f"message property {name} must be seconds since 1970 as an integer, not {value!r}")
    return struct.pack(">Q", value)


def _headers(name: str, value: Any) -> bytes:
    if not isinstance(value, Mapping):
        raise EncodeError(f"message property {name} must be a mapping, not {type(value).__name__}")
    try:
        return _table(value)
    except _RefusedError as refused:
        raise EncodeError(f"header {refused.path}: {refused.reason}") from None
    except RecursionError:
        raise EncodeError("the headers are nested too deeply, or contain themselves") from None


_FIELDS: tuple[tuple[int, str, Callable[[str, Any], bytes]], ...] = (
    (1 << 15, "content_type", _short),
    (1 << 14, "content_encoding", _short),
    (1 << 13, "headers", _headers),
    (1 << 12, "delivery_mode", _octet),
    (1 << 11, "priority", _octet),
    (1 << 10, "correlation_id", _short),
    (1 << 9, "reply_to", _short),
    (1 << 8, "expiration", _short),
    (1 << 7, "message_id", _short),
    (1 << 6, "timestamp", _seconds),
    (1 << 5, "type", _short),
    (1 << 4, "user_id", _short),
    (1 << 3, "app_id", _short),
)


def _table(table: Mapping[str, Any]) -> bytes:
    parts = [b""]
    for key, value in table.items():
        try:
            parts.append(_names.get(key) or _name(key))
            parts.append(_value(value))
        except _RefusedError as refused:
            refused.path = f"{key!r}{'.' if refused.path else ''}{refused.path}"
            raise
    data = b"".join(parts)
    return _pack_long(len(data)) + data


def _name(key: object) -> bytes:
    if not isinstance(key, str):
        raise _RefusedError(f"the name must be a str, not {type(key).__name__}")
    data = key.encode()
    if len(data) > _SHORT:
        raise _RefusedError(f"the name has {len(data)} bytes; AMQP allows {_SHORT}")
    encoded = _LENGTHS[len(data)] + data
    if len(_names) < _NAMES_KEPT:  # names repeat from message to message; an odd program must not fill the memory
        _names[key] = encoded
    return encoded


def _value(value: Any) -> bytes:
    encode = _BY_TYPE.get(type(value))
    if encode is not None:
        return encode(value)
    for kind, encode in _BY_TYPE.items():  # a subclass, such as an enum's member
        if isinstance(value, kind) and kind is not type(None):
            return encode(value)
    if isinstance(value, Mapping):
        return b"F" + _table(value)
    raise _RefusedError(f"AMQP has no encoding for {type(value).__name__}; send a str")


def _text(value: str) -> bytes:
    data = value.encode()
    return b"S" + _pack_long(len(data)) + data


def _binary(value: bytes | bytearray | memoryview) -> bytes:
    data = bytes(value)
    return b"x" + _pack_long(len(data)) + data


def _integer(value: int) -> bytes:
    if -_INT32 <= value < _INT32:
        return _pack_int32(b"I", value)
    if -_INT64 <= value < _INT64:
        return _pack_int64(b"l", value)
    raise _RefusedError(f"{value} has more than 64 bits; send it as a str")


def _float(value: float) -> bytes:
    raise _RefusedError(f"{value!r} is a float, which AMQP clients cut to an integer; send it as a str")


def _decimal(value: Decimal) -> bytes:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise _RefusedError(f"{value} is not a finite number")
    scale = max(-exponent, 0)
    number = int(value.scaleb(scale))
    if scale > _SHORT or not -_INT32 <= number < _INT32:
        raise _RefusedError(f"{value} does not fit AMQP's 32-bit decimal; send it as a str")
    return b"D" + struct.pack(">Bi", scale, number)


def _moment(value: datetime) -> bytes:
    seconds = calendar.timegm(value.utctimetuple())
    if seconds < 0:
        raise _RefusedError(f"{value} is before 1970, which AMQP can't tell")
    return b"T" + struct.pack(">Q", seconds)


def _array(value: list[Any] | tuple[Any, ...]) -> bytes:
    data = b"".join([_value(item) for item in value])
    return b"A" + _pack_long(len(data)) + data


_BY_TYPE: dict[type, Callable[[Any], bytes]] = {
    str: _text,
    bool: lambda value: b"t\x01" if value else b"t\x00",
    int: _integer,
    type(None): lambda _: b"V",
    dict: lambda value: b"F" + _table(value),
    list: _array,
    tuple: _array,
    bytes: _binary,
    bytearray: _binary,
    memoryview: _binary,
    datetime: _moment,
    float: _float,
    Decimal: _decimal,
}
