"""AMQP frames: bytes from the wire cut into frames, and what the broker sends put into bytes.

Owns the frame layout. Methods that come with every message (publish, deliver, ack, return) are read and written here by
hand; all others go through pamqp. Knows no state of a connection.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from pamqp import commands
from pamqp.commands import Queue

from amqtask.testing.devbroker.engine.errors import (
    FRAME_ERROR,
    NOT_IMPLEMENTED,
    ConnectionFault,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pamqp.base import Frame

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
KINDS = frozenset((METHOD, HEADER, BODY, HEARTBEAT))
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
PUBLISH, ACK = b"\x00\x3c\x00\x28", b"\x00\x3c\x00\x50"

OVERHEAD = 8
"""Bytes of a frame that are not payload."""
LONGEST_TEXT = 255
"""Bytes that a short string can have."""
_END = 0xCE
_START = Struct(">BHI")
_ACK = Struct(">QB")
_CONFIRM = Struct(">BHI4sQBB")
_DELIVERY = Struct(">QB")
_LENGTH = Struct(">Q")
_SHOWN = 16

_MESSAGES_LEFT = Struct(">I")
_DELIVER, _GET_OK, _RETURN = b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x47", b"\x00\x3c\x00\x32"
_BASIC_ACK, _BASIC_NACK = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x78"


class Publish(NamedTuple):
    """The method basic.publish."""

    exchange: str
    routing_key: str
    mandatory: bool
    immediate: bool


class DeclareOk(Queue.DeclareOk):
    """queue.declare-ok for any name a client can think of; pamqp's own has a smaller alphabet."""

    def validate(self) -> None:
        """Accept it."""


class Parser:
    """Cuts a stream into frames, whatever pieces it arrives in.

    Attributes:
        frame_max: bytes that a frame may have, 0 for no limit.
    """

    __slots__ = ("_rest", "frame_max")

    def __init__(self, frame_max: int) -> None:
        self.frame_max = frame_max
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """The frames that are complete now: type, channel, payload.

        A consumer that stops in the middle has ended the connection.

        Raises:
            ConnectionFault: 501, what comes next is no frame or too large.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end = 0, len(data)
        unpack, largest = _START.unpack_from, self.frame_max - OVERHEAD if self.frame_max else 1 << 32
        while end - at > 7:  # noqa: PLR2004 - no frame is shorter than 8 bytes
            kind, channel, size = unpack(data, at)
            if size > largest:
                raise frame_error(kind, b"", f"{{frame_too_large,{size},{largest}}}")
            stop = at + 7 + size
            if stop >= end:
                break
            payload = data[at + 7 : stop]
            if kind not in KINDS or (kind == HEARTBEAT and size):
                raise frame_error(kind, payload, "unknown_frame")
            if data[stop] != _END:
                raise frame_error(kind, payload, f"{{invalid_frame_end_marker,{data[stop]}}}")
            yield kind, channel, payload
            at = stop + 1
            if self.frame_max:  # tuning may have changed it
                largest = self.frame_max - OVERHEAD
        self._rest = data[at:]


def read_publish(payload: bytes) -> Publish:
    """The method basic.publish.

    Raises:
        ConnectionFault: 501, it ends too early or has text that is not UTF-8.
    """
    try:
        key = 7 + payload[6]
        bits = key + 1 + payload[key]
        return Publish(
            payload[7:key].decode(),
            payload[key + 1 : bits].decode(),
            bool(payload[bits] & 1),
            bool(payload[bits] & 2),
        )
    except (IndexError, UnicodeDecodeError):
        raise frame_error(METHOD, payload, "basic.publish") from None


def read_ack(payload: bytes) -> tuple[int, bool]:
    """The method basic.ack: delivery tag, multiple.

    Raises:
        ConnectionFault: 501, it ends too early.
    """
    try:
        tag, bits = _ACK.unpack_from(payload, 4)
    except struct.error:
        raise frame_error(METHOD, payload, "basic.ack") from None
    return tag, bool(bits & 1)


def read_method(payload: bytes) -> Frame:
    """Any method.

    Raises:
        ConnectionFault: 540 when AMQP has no such method, 501 when it or its arguments are broken.
    """
    if len(payload) < 4:  # noqa: PLR2004 - class and method
        raise frame_error(METHOD, payload, "no method")
    kind = commands.INDEX_MAPPING.get(int.from_bytes(payload[:4]))
    if kind is None:
        numbers = int.from_bytes(payload[:2]), int.from_bytes(payload[2:4])
        raise ConnectionFault(NOT_IMPLEMENTED, "NOT_IMPLEMENTED - unknown method {}.{}".format(*numbers))
    method: Frame = kind()
    try:
        method.unmarshal(payload[4:])
    except (struct.error, ValueError, IndexError, OverflowError, OSError, RecursionError, TypeError):
        raise frame_error(METHOD, payload, method.name.lower()) from None
    return method


def body_size(header: bytes) -> int:
    """How many bytes of body follow a content header.

    Raises:
        ConnectionFault: 501, it is none.
    """
    if len(header) < 14:  # noqa: PLR2004 - class, weight, size and flags
        raise frame_error(HEADER, header, "content header too short")
    return int(_LENGTH.unpack_from(header, 4)[0])


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Any frame."""
    return b"%b%b\xce" % (_START.pack(kind, channel, len(payload)), payload)


def method(channel: int, frame_: Frame) -> bytes:
    """A method frame."""
    return frame(METHOD, channel, frame_.index.to_bytes(4) + frame_.marshal())


def content(channel: int, header: bytes, body: bytes, frame_max: int) -> bytes:
    """The frames that follow a method with content; no body frame for an empty body."""
    size = len(body)
    if not size:
        return b"%b%b\xce" % (_START.pack(HEADER, channel, len(header)), header)
    if size <= frame_max - OVERHEAD or not frame_max:
        return b"%b%b\xce%b%b\xce" % (
            _START.pack(HEADER, channel, len(header)),
            header,
            _START.pack(BODY, channel, size),
            body,
        )
    step = frame_max - OVERHEAD
    parts = [frame(HEADER, channel, header)]
    parts += (frame(BODY, channel, body[at : at + step]) for at in range(0, size, step))
    return b"".join(parts)


def short_string(text: str) -> bytes:
    """A text of up to 255 bytes with its length."""
    data = text.encode()
    return b"%c%b" % (len(data), data)


def address(exchange: str, routing_key: str) -> bytes:
    """The two last arguments of most methods with content."""
    return short_string(exchange) + short_string(routing_key)


def deliver_prefix(consumer_tag: str) -> bytes:
    """What all deliveries to a consumer begin with; see :func:`deliver`."""
    return _DELIVER + short_string(consumer_tag)


def deliver(channel: int, prefix: bytes, tag: int, redelivered: bool, address_: bytes) -> bytes:
    """The method basic.deliver."""
    return b"%b%b%b%b\xce" % (
        _START.pack(METHOD, channel, len(prefix) + 9 + len(address_)),
        prefix,
        _DELIVERY.pack(tag, redelivered),
        address_,
    )


def get_ok(channel: int, tag: int, redelivered: bool, address_: bytes, left: int) -> bytes:
    """The method basic.get-ok."""
    return frame(METHOD, channel, _GET_OK + _DELIVERY.pack(tag, redelivered) + address_ + _MESSAGES_LEFT.pack(left))


def basic_return(channel: int, code: int, text: str, address_: bytes) -> bytes:
    """The method basic.return."""
    return frame(METHOD, channel, _RETURN + code.to_bytes(2) + short_string(text) + address_)


def confirm(channel: int, number: int, *, multiple: bool = False, accepted: bool = True) -> bytes:
    """The methods basic.ack and basic.nack as confirms."""
    return _CONFIRM.pack(METHOD, channel, 13, _BASIC_ACK if accepted else _BASIC_NACK, number, multiple, _END)


def shortened(text: str) -> str:
    """A reply text that fits its field, as RabbitMQ shortens it."""
    data = text.encode()
    return text if len(data) <= LONGEST_TEXT else data[: LONGEST_TEXT - 3].decode(errors="ignore") + "..."


def snippet(payload: bytes) -> str:
    """The beginning of a payload in Erlang's notation, for error texts."""
    amount = "all" if len(payload) <= _SHOWN else f"first {_SHOWN}"
    return f"{amount} octets = <<{','.join(map(str, payload[:_SHOWN]))}>>"


def frame_error(kind: int, payload: bytes, what: str) -> ConnectionFault:
    """A frame that means nothing: 501."""
    return ConnectionFault(FRAME_ERROR, f"FRAME_ERROR - type {kind}, {snippet(payload)}: {what}")
