"""One AMQP connection spoken frame by frame: for malformed input, handshakes, and bytes a client library would hide.

with Wire(url) as wire:
    wire.login()
    wire.open_channel()
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pamqp import base, commands, frame, header, heartbeat

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = b"\xce"
PATIENCE = 15.0
"""Seconds to wait for what a broker does at once, on a machine that is busy with other things."""
CLIENT = {"product": "conformance", "capabilities": {}}
CAPABLE = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}

M = TypeVar("M", bound=base.Frame)


class Gone(Exception):
    """The broker has ended the connection."""


class Frame(NamedTuple):
    """A frame as it came; ``method`` is set when it is one."""

    kind: int
    channel: int
    payload: bytes
    method: Any = None


class Content(NamedTuple):
    """A method with the content that follows it. ``header`` is the payload of the header frame."""

    method: Any
    header: bytes
    body: bytes

    @property
    def properties(self) -> commands.Basic.Properties:
        parsed = header.ContentHeader()
        parsed.unmarshal(self.header)
        return parsed.properties


def raw_frame(kind: int, channel: int, payload: bytes, end: bytes = FRAME_END) -> bytes:
    """A frame of any content, however wrong."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def method_frame(method: base.Frame, channel: int = 1) -> bytes:
    return frame.marshal(method, channel)


def header_payload(size: int, properties: commands.Basic.Properties | None = None, class_id: int = 60) -> bytes:
    """Payload of a content header frame."""
    made = header.ContentHeader(0, size, properties or commands.Basic.Properties()).marshal()
    return struct.pack(">H", class_id) + made[2:]


def raw_headers(table: bytes, size: int = 0) -> bytes:
    """Payload of a content header frame with only the property ``headers``: a field table without its length."""
    return struct.pack(">HHQH", 60, 0, size, 1 << 13) + struct.pack(">I", len(table)) + table


class Wire:
    """A TCP connection to the broker of ``url``; nothing is sent until asked."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.user, self.password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        self.vhost = unquote(parts.path[1:]) or "/"
        self.socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.beats = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # -- sending ----------------------------------------------------------------------------------

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, *methods: base.Frame, channel: int = 1) -> None:
        self.send_bytes(b"".join(method_frame(method, channel) for method in methods))

    def publish(self, method: commands.Basic.Publish, header: bytes, body: bytes = b"", channel: int = 1) -> None:
        """Send a method and its content; the body in one frame, none when it is empty."""
        frames = method_frame(method, channel) + raw_frame(HEADER, channel, header)
        self.send_bytes(frames + (raw_frame(BODY, channel, body) if body else b""))

    # -- receiving --------------------------------------------------------------------------------

    def read(self, size: int, timeout: float = PATIENCE) -> bytes:
        """So many bytes; raises :class:`Gone` when the broker closes before."""
        deadline = time.monotonic() + timeout
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            assert left > 0, f"nothing within {timeout:g} s; so far {self._buffer!r}"
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                raise Gone(str(error)) from error
            if not data:
                raise Gone
            self._buffer += data
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def receive(self, timeout: float = PATIENCE) -> Frame:
        """The next frame; heartbeats are counted and passed over."""
        deadline = time.monotonic() + timeout
        while True:
            kind, channel, size = struct.unpack(">BHI", self.read(7, max(0.01, deadline - time.monotonic())))
            payload = self.read(size)
            assert self.read(1) == FRAME_END
            if kind == HEARTBEAT:
                assert (channel, size) == (0, 0)
                self.beats += 1
                continue
            if kind != METHOD:
                return Frame(kind, channel, payload)
            return Frame(kind, channel, payload, frame.unmarshal(raw_frame(kind, channel, payload))[2])

    def expect(self, kind: type[M], channel: int = 1, timeout: float = PATIENCE) -> M:
        """The next frame, which has to be this method on this channel."""
        got = self.receive(timeout)
        assert (got.channel, type(got.method)) == (channel, kind), f"{got}: {vars_of(got.method)}"
        return got.method

    def call(self, method: base.Frame, answer: type[M], channel: int = 1) -> M:
        self.send(method, channel=channel)
        return self.expect(answer, channel)

    def content(self, kind: type[base.Frame], channel: int = 1) -> Content:
        """The next frames, which have to be this method and its content."""
        method = self.expect(kind, channel)
        got = self.receive()
        assert (got.kind, got.channel) == (HEADER, channel)
        size = struct.unpack_from(">Q", got.payload, 4)[0]
        body = b""
        while len(body) < size:
            part = self.receive()
            assert (part.kind, part.channel) == (BODY, channel)
            body += part.payload
        return Content(method, got.payload, body)

    def closed_channel(self, channel: int = 1) -> commands.Channel.Close:
        """The broker closes the channel next; it is confirmed."""
        method = self.expect(commands.Channel.Close, channel)
        self.send(commands.Channel.CloseOk(), channel=channel)
        return method

    def closed(self) -> commands.Connection.Close:
        """The broker closes the connection next; it is confirmed, and the broker hangs up."""
        method = self.expect(commands.Connection.Close, 0)
        self.send(commands.Connection.CloseOk(), channel=0)
        self.hung_up()
        return method

    def hung_up(self, timeout: float = PATIENCE) -> None:
        """The broker ends the connection without another word."""
        try:
            data = self.read(1, timeout)
        except Gone:
            return
        raise AssertionError(f"not closed but {data + self._buffer!r}")

    def sent_nothing(self) -> bool:
        """Whether nothing has come that was not read yet."""
        self.socket.settimeout(0.05)
        with suppress(TimeoutError):
            self._buffer += self.socket.recv(65536)
        return not self._buffer

    # -- handshake --------------------------------------------------------------------------------

    def start(self) -> commands.Connection.Start:
        """Send the protocol header and read the broker's first method."""
        self.send_bytes(b"AMQP\x00\x00\x09\x01")
        return self.expect(commands.Connection.Start, 0)

    def start_ok(self, mechanism: str = "PLAIN", response: str | None = None, capable: bool = True) -> None:
        """Answer with credentials; those of the URL by PLAIN unless told."""
        plain = f"\0{self.user}\0{self.password}" if response is None else response
        properties = {**CLIENT, "capabilities": CAPABLE if capable else {}}
        self.send(commands.Connection.StartOk(properties, mechanism, plain, "en_US"), channel=0)

    def login(self, *, frame_max: int | None = None, heartbeat: int = 0, capable: bool = True) -> None:
        """The whole handshake, as a client does it."""
        self.start()
        self.start_ok(capable=capable)
        tune = self.expect(commands.Connection.Tune, 0)
        ok = commands.Connection.TuneOk(tune.channel_max, frame_max or tune.frame_max, heartbeat)
        self.send(ok, commands.Connection.Open(self.vhost), channel=0)
        self.expect(commands.Connection.OpenOk, 0)

    def read_to_end(self, timeout: float = PATIENCE) -> bytes:
        """Everything until the broker hangs up."""
        deadline, got = time.monotonic() + timeout, b""
        with suppress(Gone):
            while True:
                got += self.read(1, max(0.01, deadline - time.monotonic()))
        return got

    def open_channel(self, channel: int = 1) -> None:
        self.call(commands.Channel.Open(), commands.Channel.OpenOk, channel)

    def beat(self) -> None:
        self.send_bytes(heartbeat.Heartbeat().marshal())


def vars_of(method: Any) -> dict[str, Any]:
    """Arguments of a method, to be read in failures."""
    return dict(method) if isinstance(method, base.Frame) else {}


# -- field tables with their types ----------------------------------------------------------------


class Field(NamedTuple):
    """A value of a field table with the letter of its type; tables and arrays hold fields again."""

    type: str
    value: Any


_FIXED = {
    "t": ">?", "b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "f": ">f", "d": ">d",
    "T": ">Q", "D": ">Bi",
}  # fmt: skip


def typed_headers(header: bytes) -> dict[str, Field]:
    """The property ``headers`` of a content header; empty when it has none."""
    flags = struct.unpack_from(">H", header, 12)[0]
    at = 14
    for bit in (15, 14):  # content type and encoding come first
        if flags & 1 << bit:
            at += 1 + header[at]
    if not flags & 1 << 13:
        return {}
    end = at + 4 + struct.unpack_from(">I", header, at)[0]
    return typed_table(header[at + 4 : end])


def typed_table(data: bytes) -> dict[str, Field]:
    """Fields by name of a table without its length."""
    found, at = {}, 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]].decode()
        found[name], at = _field(data, at + 1 + data[at])
    return found


def _field(data: bytes, at: int) -> tuple[Field, int]:
    kind, at = chr(data[at]), at + 1
    if kind in _FIXED:
        values = struct.unpack_from(_FIXED[kind], data, at)
        return Field(kind, values if len(values) > 1 else values[0]), at + struct.calcsize(_FIXED[kind])
    if kind == "V":
        return Field(kind, None), at
    end = at + 4 + struct.unpack_from(">I", data, at)[0]
    content = data[at + 4 : end]
    if kind == "F":
        return Field(kind, typed_table(content)), end
    if kind == "A":
        fields, at = [], 0
        while at < len(content):
            field, at = _field(content, at)
            fields.append(field)
        return Field(kind, fields), end
    return Field(kind, content), end
