"""The stream between parent and child: length-framed msgpack. Owns the framing and the kinds of frames, no socket.

A frame is four bytes of length, little-endian, and a msgpack list ``[kind, ...]``. Values that msgpack lacks (times,
decimals in AMQP headers) travel as the task serializer writes them.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

import msgpack

from amqtask.wire.serializers.msgpack import SERIALIZER

MAX_FRAME = 1 << 30
"""Bytes; a longer one means that something else wrote into the stream."""

_LENGTH = struct.Struct("<I")
_RICH = 1


class Frame(IntEnum):
    """Kinds of frames and what follows the kind."""

    JOBS = 0
    """To the child: a list of jobs."""
    REPLY = 1
    """To the child: request number, None or (error class, text)."""
    CLOSE = 2
    """To the child: end after the jobs sent before."""
    READY = 3
    """From the child: it is up."""
    DONE = 4
    """From the child: a list of outcomes."""
    PUBLISH = 5
    """From the child: a list of (request number, outgoing message, timeout)."""
    BACK = 6
    """From the child: keys of jobs that it will not start, because the one before them takes long."""
    STORE = 7
    """From the child: a list of records to store, of a task that still runs."""
    BEGIN = 8
    """From the child: request number, a list of chords to begin, and their key; answered by REPLY."""
    PING = 9
    """To the child: a number that it sends back."""
    PONG = 10
    """From the child: the number."""
    FULL = 11
    """From the child: its memory in KiB, once that is over the limit; it wants to be replaced."""


class ProtocolError(Exception):
    """The stream can't be understood; its other end is beyond repair."""


def _default(value: Any) -> msgpack.ExtType:
    return msgpack.ExtType(_RICH, SERIALIZER.dumps(value))


def _ext_hook(code: int, data: bytes) -> Any:
    return SERIALIZER.loads(data) if code == _RICH else msgpack.ExtType(code, data)


class FrameWriter:
    """Writes frames. Not thread-safe."""

    def __init__(self) -> None:
        self._pack = msgpack.Packer(default=_default).pack

    def frame(self, *fields: Any) -> bytes:
        """One frame, its length included.

        Raises:
            TypeError, ValueError, OverflowError: a value that can't be written.
        """
        payload: bytes = self._pack(fields)
        return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream into frames, however it was chunked. Not thread-safe."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> list[list[Any]]:
        """Take what was received; returns the frames that are complete with it, in order.

        Raises:
            ProtocolError: this is no stream of frames.
        """
        stream: bytes | bytearray = data
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            stream, self._rest = self._rest, bytearray()
        frames: list[list[Any]] = []
        start, size = 0, len(stream)
        self._wanted = _LENGTH.size
        view = memoryview(stream)
        while size - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(view, start)
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes")
            end = start + _LENGTH.size + length
            if end > size:
                self._wanted = end - start
                break
            frames.append(_load(view[start + _LENGTH.size : end]))
            start = end
        if start < size:
            self._rest += view[start:]
        return frames


def _load(payload: memoryview) -> list[Any]:
    try:
        value = msgpack.unpackb(payload, ext_hook=_ext_hook, strict_map_key=False)
    except Exception as error:
        raise ProtocolError(f"a frame that is not msgpack: {error}") from None
    if not isinstance(value, list) or not value:
        raise ProtocolError("a frame that is not a list")
    return value
