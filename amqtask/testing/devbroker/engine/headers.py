"""Content headers edited as bytes: what is not touched keeps its type, width and order.

Owns the layout of the basic properties and of field tables; knows no rule that uses them. Reading costs a walk over
the bytes before the property, so callers look at the flags first (:func:`has`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pamqp import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADERS, PRIORITY, CORRELATION_ID, EXPIRATION = 0x2000, 0x0800, 0x0400, 0x0100

_SHORT, _TABLE = -1, -2
# Flag and size of each property in wire order; short strings and tables carry their size.
_SIZES = {
    0x8000: _SHORT,  # content-type
    0x4000: _SHORT,  # content-encoding
    HEADERS: _TABLE,
    0x1000: 1,  # delivery-mode
    PRIORITY: 1,
    CORRELATION_ID: _SHORT,
    0x0200: _SHORT,  # reply-to
    EXPIRATION: _SHORT,
    0x0080: _SHORT,  # message-id
    0x0040: 8,  # timestamp
    0x0020: _SHORT,  # type
    0x0010: _SHORT,  # user-id
    0x0008: _SHORT,  # app-id
    0x0004: _SHORT,  # cluster-id
}
_FLAGS_AT = 12
# Bytes of a field value after its type; those not here begin with their length.
_VALUE_SIZES = {
    ord(kind): size
    for kinds, size in {"tbB": 1, "su": 2, "Iif": 4, "D": 5, "lLdT": 8, "V\0": 0}.items()
    for kind in kinds
}
_LONG_VALUES = frozenset(b"SxAF")
# The same by type, for the check that every message goes through: -1 begins with its length, None is no type.
_SIZES_BY_TYPE = [-1 if kind in _LONG_VALUES else _VALUE_SIZES.get(kind) for kind in range(256)]


class Malformed(ValueError):
    """The bytes are no content header or no field table."""


class Field(NamedTuple):
    """One entry of a field table, still encoded."""

    name: bytes
    value: bytes
    """Type and value."""


def has(header: bytes, name: int) -> bool:
    """Whether the property with this flag is there."""
    return bool(_flags(header) & name)


def locate(header: bytes, name: int) -> tuple[int, int]:
    """Where a property begins and ends; when it is not there, both are where it would be.

    Raises:
        Malformed: the header ends too early.
    """
    try:
        flags, at = _flags(header), _FLAGS_AT + 2
        while header[at - 1] & 1:  # further flag words, of which none is in use
            at += 2
        for size in _sizes_before(flags, name):
            at += _size(header, at, size)
        if not flags & name:
            return at, at
        end = at + _size(header, at, _SIZES[name])
    except IndexError:
        end = len(header) + 1
    if end > len(header):
        raise Malformed("content header ends too early")
    return at, end


def well_formed(header: bytes) -> bool:
    """Whether the property ``headers``, which must be there, is a table of known types; nested ones are not read."""
    try:
        at, end = locate(header, HEADERS)
        at += 4
        while at < end:
            at += header[at] + 1
            size = _SIZES_BY_TYPE[header[at]]
            if size is None:
                return False
            at += 1 + (size if size >= 0 else 4 + int.from_bytes(header[at + 1 : at + 5]))
    except (IndexError, Malformed):
        return False
    return at == end


def short_string(header: bytes, name: int) -> str | None:
    """A property that is a short string; bytes that are no UTF-8 are replaced, as any are legal.

    Raises:
        Malformed: the header ends too early.
    """
    start, end = locate(header, name)
    return header[start + 1 : end].decode(errors="replace") if end > start else None


def octet(header: bytes, name: int) -> int | None:
    """A property that is one byte.

    Raises:
        Malformed: the header ends too early.
    """
    start, end = locate(header, name)
    return header[start] if end > start else None


def without(header: bytes, name: int) -> bytes:
    """The header with a property taken out."""
    start, end = locate(header, name)
    return _with_flags(header[:start] + header[end:], _flags(header) & ~name)


def fields(header: bytes) -> list[Field]:
    """The entries of the property ``headers``, encoded; empty when there is none.

    Raises:
        Malformed: the header or its table is broken.
    """
    start, end = locate(header, HEADERS)
    found: list[Field] = []
    if start == end:
        return found
    at = start + 4
    try:
        while at < end:
            name = at + 1
            value = name + header[at]
            kind = header[value]
            size = _VALUE_SIZES.get(kind)
            if size is None:
                if kind not in _LONG_VALUES:
                    raise Malformed(f"unknown field type {chr(kind)!r}")
                size = 4 + int.from_bytes(header[value + 1 : value + 5])
            at = value + 1 + size
            found.append(Field(header[name:value], header[value:at]))
    except IndexError:
        at = -1
    if at != end:
        raise Malformed("field table ends too early")
    return found


def table(header: bytes) -> Mapping[str, object]:
    """The property ``headers``, decoded.

    Raises:
        Malformed: the header or its table is broken.
    """
    start, end = locate(header, HEADERS)
    if start == end:
        return {}
    try:
        return decode.field_table(header[start:end])[1]
    except (ValueError, IndexError, OverflowError, RecursionError) as error:
        raise Malformed(str(error)) from None


def with_fields(header: bytes, changes: dict[bytes, bytes | None]) -> bytes:
    """The header with entries of ``headers`` set or, when None, taken out; sorted by name, as RabbitMQ sends it.

    Args:
        header: content header frame's payload.
        changes: names and encoded values (:class:`Field`).

    Raises:
        Malformed: the header or its table is broken.
    """
    kept = {field.name: field.value for field in fields(header)}
    kept.update((name, value) for name, value in changes.items() if value is not None)
    entries = b"".join(
        bytes((len(name),)) + name + value
        for name, value in sorted(kept.items())
        if changes.get(name, value) is not None
    )
    start, end = locate(header, HEADERS)
    encoded = len(entries).to_bytes(4) + entries
    return _with_flags(header[:start] + encoded + header[end:], _flags(header) | HEADERS)


def long_string(text: str) -> bytes:
    """An encoded field value: a string."""
    data = text.encode()
    return b"S" + len(data).to_bytes(4) + data


def long_integer(number: int) -> bytes:
    """An encoded field value: 64 bits, signed."""
    return b"l" + number.to_bytes(8, signed=True)


def _flags(header: bytes) -> int:
    return header[_FLAGS_AT] << 8 | header[_FLAGS_AT + 1]


def _with_flags(header: bytes, flags: int) -> bytes:
    return header[:_FLAGS_AT] + flags.to_bytes(2) + header[_FLAGS_AT + 2 :]


def _size(header: bytes, at: int, size: int) -> int:
    if size == _SHORT:
        return 1 + header[at]
    if size == _TABLE:
        return 4 + int.from_bytes(header[at : at + 4])
    return size


@lru_cache(maxsize=1024)  # programs use few combinations of properties
def _sizes_before(flags: int, name: int) -> tuple[int, ...]:
    return tuple(size for flag, size in _SIZES.items() if flag > name and flags & flag)
