"""A client's connection. Owns its states from the protocol header to the end, its channels, and what blocks it."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, cast

from pamqp.commands import Channel as ChannelMethod
from pamqp.commands import Connection as Method

from amqtask.testing.devbroker.engine.errors import (
    CHANNEL_ERROR,
    CONNECTION_FORCED,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    UNEXPECTED_FRAME,
    ChannelFault,
    ConnectionFault,
    Fault,
)
from amqtask.testing.devbroker.protocol import frames, handshake
from amqtask.testing.devbroker.protocol.channel import Channel
from amqtask.testing.devbroker.protocol.handshake import Handshake, LoginRefused, Misfit, Step
from amqtask.testing.devbroker.protocol.heartbeats import Heartbeats
from amqtask.testing.devbroker.protocol.outbox import Outbox
from amqtask.testing.devbroker.protocol.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from pamqp.base import Frame

    from amqtask.testing.devbroker.protocol.trace import Tracer
    from amqtask.testing.devbroker.state import State

LOG = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 10.0
CLOSE_TIMEOUT = 5.0
"""Seconds that a client has to agree that the connection is closed."""
_CLOSE_OK = frames.method(0, Method.CloseOk())
_CHANNEL_OPEN, _CHANNEL_CLOSE_OK = ChannelMethod.Open.index.to_bytes(4), ChannelMethod.CloseOk.index.to_bytes(4)
_RESET = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """One client.

    Args:
        number: counts the broker's connections from 1.
        state: what all connections share.
        on_end: called once when its socket is closed.
        tracer: told of everything read and written.
    """

    def __init__(
        self, number: int, state: State, on_end: Callable[[Connection], None], tracer: Tracer | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._state, self._on_end, self._tracer = state, on_end, tracer
        self._outbox = Outbox(self._loop, self._pump)
        if tracer is not None:
            self._outbox.on_write = tracer.written
        self.session = Session(number, "", state, self._outbox)
        self._handshake = Handshake(self.session)
        self._parser = frames.Parser(handshake.SMALLEST_FRAME_MAX)
        self._channels: dict[int, Channel] = {}
        self._received = 0
        self._greeting: bytes | None = b""  # what has come of the protocol header
        self._closing = self._deaf = self._gone = self._blocked = self._frozen = self._left = False
        self._heartbeats: Heartbeats | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    # --- for the server ---

    @property
    def status(self) -> str:
        """``handshake``, ``running``, ``blocked``, ``frozen`` or ``closing``."""
        if self._frozen:
            return "frozen"
        if self._closing:
            return "closing"
        if self._handshake.step is not Step.DONE:
            return "handshake"
        return "blocked" if self._blocked else "running"

    @property
    def gone(self) -> bool:
        """Whether the broker has done with it; its socket may still be about to close."""
        return self._gone

    @property
    def channel_count(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    def reset(self) -> None:
        """End it at once, as a lost network would."""
        if self._transport is not None:
            raw: socket.socket = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.abort()

    def abort(self) -> None:
        """End it at once; what was not written never will be."""
        self._end()
        self._set_timer(None, 0)
        if self._transport is not None:
            self._transport.abort()

    def force_close(self, text: str) -> None:
        """Tell the client that an operator closed it."""
        self._close(ConnectionFault(CONNECTION_FORCED, f"CONNECTION_FORCED - {text}"), b"")

    def freeze(self, frozen: bool) -> None:
        """Neither read nor write, or go on."""
        if frozen != self._frozen and not self._gone:
            self._frozen = frozen
            self._outbox.hold(frozen)
            self._control_reading()

    def unblock(self) -> None:
        """Publishing is possible again."""
        if self._blocked:
            self._blocked = False
            if self.session.can("connection.blocked"):
                self._send(Method.Unblocked())
            self._control_reading()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._outbox.open(self._transport)
        host, port, *_ = self._transport.get_extra_info("peername") or ("?", 0)
        self.session.peer = f"{host}:{port}"
        self._timer = self._loop.call_later(HANDSHAKE_TIMEOUT, self.abort)
        self.freeze(self._state.faults.frozen(None))

    def data_received(self, data: bytes) -> None:
        """Bytes came: work through all frames in them, then answer in one write."""
        self._received += len(data)
        if self._deaf or self._gone:
            if _CLOSE_OK in data:
                self._hang_up()
            return
        if self._greeting is not None:
            data = self._greet(self._greeting + data)
        self._outbox.gather()
        if self._tracer is not None:
            self._tracer.read(data)
        self._read(data)
        if self.session.published:
            self.session.published = False
            self._block_if_needed()
        self._outbox.flush()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._outbox.congest(True)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._outbox.congest(False)

    def connection_lost(self, _error: Exception | None) -> None:
        """The socket is closed."""
        self._end()
        self._set_timer(None, 0)
        self._on_end(self)

    # --- frames ---

    def _greet(self, greeting: bytes) -> bytes:
        """Take the protocol header; returns what follows it."""
        size = len(frames.PROTOCOL_HEADER)
        if not frames.PROTOCOL_HEADER.startswith(greeting[:size]):
            self._outbox.send(frames.PROTOCOL_HEADER)
            self._greeting, self._deaf = None, True
            self._outbox.flush()
            self._hang_up()
            return b""
        if len(greeting) < size:
            self._greeting = greeting
            return b""
        self._greeting = None
        self._send(handshake.start())
        return greeting[size:]

    def _read(self, data: bytes) -> None:
        try:
            for kind, number, payload in self._parser.feed(data):
                self._frame(kind, number, payload)
                if self._gone:
                    return
        except ConnectionFault as fault:  # by the parser: what follows can't be understood, not even a close-ok
            self._close(fault, b"")
            self._deaf = True

    def _frame(self, kind: int, number: int, payload: bytes) -> None:
        try:
            channel = self._channels.get(number)
            if channel is not None and not self._closing:
                try:
                    if not channel.receive(kind, payload):
                        del self._channels[number]
                except ChannelFault as fault:
                    channel.fail(fault, *_blamed(kind, payload))
            elif kind == frames.HEARTBEAT and number == 0:
                pass
            elif number == 0 or self._closing:
                self._connection_frame(kind, number, payload)
            else:
                self._without_channel(kind, number, payload)
        except Fault as fault:
            self._close(fault, payload if kind == frames.METHOD else b"")
        except Exception:
            LOG.exception("connection %d", self.session.number)
            self._close(ConnectionFault(INTERNAL_ERROR, "INTERNAL_ERROR"), payload if kind == frames.METHOD else b"")

    def _without_channel(self, kind: int, number: int, payload: bytes) -> None:
        if self._handshake.step is not Step.DONE:
            self.abort()
            return
        if kind != frames.METHOD or not payload.startswith(_CHANNEL_OPEN):
            if kind == frames.METHOD and payload.startswith(_CHANNEL_CLOSE_OK):
                return
            raise ConnectionFault(CHANNEL_ERROR, "CHANNEL_ERROR - expected 'channel.open'")
        most, opened = self.session.channel_max, len(self._channels)
        if opened >= most or number > most:
            raise ConnectionFault(
                NOT_ALLOWED,
                f"NOT_ALLOWED - number of channels opened ({opened}) has reached the negotiated channel_max ({most})",
            )
        self._channels[number] = Channel(number, self.session, self._cut)
        self._outbox.send(frames.method(number, ChannelMethod.OpenOk()))

    def _connection_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind != frames.METHOD or number:
            if not self._closing:
                raise ConnectionFault(UNEXPECTED_FRAME, f"UNEXPECTED_FRAME - type {kind}, {frames.snippet(payload)}")
            return
        method = frames.read_method(payload)
        if isinstance(method, Method.CloseOk):
            self._hang_up()
        elif isinstance(method, Method.Close):
            self._send(Method.CloseOk())
            self._leave_channels()
            self._hang_up()
        elif self._closing:
            return
        elif self._handshake.step is not Step.DONE:
            self._shake_hands(method)
        elif isinstance(method, Method.UpdateSecret):
            self._send(Method.UpdateSecretOk())
        else:
            raise ConnectionFault(CHANNEL_ERROR, "CHANNEL_ERROR - unexpected method in connection state running")

    def _shake_hands(self, method: Frame) -> None:
        try:
            answer = self._handshake.receive(method)
        except (LoginRefused, Misfit) as refused:
            if isinstance(refused, LoginRefused) and self.session.can("authentication_failure_close"):
                raise
            LOG.info("connection %d: %s", self.session.number, refused.text)
            self.abort()
            return
        if isinstance(method, Method.TuneOk):
            self._parser.frame_max = self.session.frame_max
            self._start_heartbeats()
        if answer is not None:
            self._send(answer)
        if self._handshake.step is Step.DONE:
            self._set_timer(None, 0)
            self.freeze(self._state.faults.frozen(self.session.vhost_name))

    def _start_heartbeats(self) -> None:
        if self.session.heartbeat:
            self._heartbeats = Heartbeats(
                self._loop,
                self.session.heartbeat,
                lambda: self._outbox.written,
                lambda: self._received if self._reading else None,
                lambda: self._outbox.send(frames.HEARTBEAT_FRAME),
                self.abort,
            )

    # --- blocking ---

    @property
    def _reading(self) -> bool:
        return not self._frozen and (self._closing or not self._blocked)

    def _block_if_needed(self) -> None:
        reason = self._state.blocked
        if reason is not None and not self._blocked and not self._closing:
            self._blocked = True
            if self.session.can("connection.blocked"):
                self._send(Method.Blocked(reason))
            self._control_reading()

    def _control_reading(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._reading:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _pump(self) -> None:
        for channel in list(self._channels.values()):
            channel.deliveries.pump()

    def _cut(self) -> None:
        # After this turn: a queue is in the middle of a delivery.
        def abort_soon() -> None:
            self._loop.call_soon(self.abort)

        self._outbox.send_at_end(abort_soon)

    # --- the end ---

    def _close(self, fault: Fault, method: bytes) -> None:
        """Say why the connection ends, and wait for the client to agree."""
        if self._closing or self._gone:
            return
        numbers = int.from_bytes(method[:2]), int.from_bytes(method[2:4])
        self._leave_channels()
        self._send(Method.Close(fault.code, frames.shortened(fault.text), *numbers))
        self._closing = True
        self._control_reading()
        self._set_timer(self._hang_up, CLOSE_TIMEOUT)

    def _hang_up(self) -> None:
        """End it after what is to be written, if the client reads that."""
        self._outbox.flush()
        if self._transport is not None:
            self._transport.close()
        self._end()
        self._set_timer(self.abort, CLOSE_TIMEOUT)

    def _leave_channels(self) -> None:
        if self._left:
            return
        self._left = True
        channels = list(self._channels.values())
        self._channels.clear()
        for channel in channels:
            channel.stop()
        for channel in channels:
            channel.give_back()
        for channel in channels:
            channel.leave()
        if self.session.vhost_name is not None:
            self.session.vhost.owner_gone(self.session)

    def _end(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._set_timer(None, 0)
        if self._heartbeats is not None:
            self._heartbeats.stop()
        self._outbox.close()
        self._leave_channels()

    def _set_timer(self, action: Callable[[], None] | None, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if action is None else self._loop.call_later(seconds, action)

    def _send(self, method: Frame) -> None:
        self._outbox.send(frames.method(0, method))


def _blamed(kind: int, payload: bytes) -> tuple[int, int]:
    """Class and method that a refusal names; content belongs to basic.publish."""
    method = payload if kind == frames.METHOD else frames.PUBLISH
    return int.from_bytes(method[:2]), int.from_bytes(method[2:4])
