"""A channel: frames in, engine calls and answers out. Owns which method goes where, and the two ways a channel ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pamqp.commands import Channel as ChannelMethod
from pamqp.commands import Confirm

from amqtask.testing.devbroker.engine.errors import (
    CHANNEL_ERROR,
    COMMAND_INVALID,
    UNEXPECTED_FRAME,
    ChannelFault,
    ConnectionFault,
    not_implemented,
)
from amqtask.testing.devbroker.protocol import frames
from amqtask.testing.devbroker.protocol.channel_basic import Consuming
from amqtask.testing.devbroker.protocol.channel_confirms import Confirms
from amqtask.testing.devbroker.protocol.channel_declare import Declarations
from amqtask.testing.devbroker.protocol.channel_deliveries import Deliveries
from amqtask.testing.devbroker.protocol.channel_publish import Publishing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pamqp.base import Frame

    from amqtask.testing.devbroker.protocol.session import Session

_CLOSE, _CLOSE_OK = ChannelMethod.Close.index.to_bytes(4), ChannelMethod.CloseOk.index.to_bytes(4)


class Channel:
    """An open channel.

    Args:
        number: its number in the connection.
        session: the connection.
        on_cut: resets the connection, for faults on demand.

    Attributes:
        closing: True once the broker closed it, until the client agrees; whatever comes meanwhile is ignored.
    """

    __slots__ = ("_confirms", "_handlers", "_publishing", "_session", "closing", "deliveries", "number")

    def __init__(self, number: int, session: Session, on_cut: Callable[[], None]) -> None:
        self.number, self._session = number, session
        self.closing = False
        self._confirms = Confirms(number, session)
        self.deliveries = Deliveries(number, session, on_cut)
        self._publishing = Publishing(number, session, self._confirms, self.deliveries)
        declarations = Declarations(session)
        self._handlers: dict[type[Frame], Callable[[Any], Frame | None]] = {
            **declarations.handlers,
            **Consuming(session, declarations, self.deliveries).handlers,
            Confirm.Select: self._select,
            ChannelMethod.Flow: self._flow,
            ChannelMethod.FlowOk: lambda _method: None,
            ChannelMethod.Open: _second_open,
        }

    def receive(self, kind: int, payload: bytes) -> bool:
        """Work on a frame; False when the channel is closed by it, by either side's close-ok.

        Raises:
            ChannelFault: the channel is to be closed with :meth:`fail`.
            ConnectionFault: the connection is to be closed.
        """
        if self.closing:
            return self._await_close_ok(kind, payload)
        publishing = self._publishing
        if kind == frames.BODY:
            publishing.body(payload)
        elif kind == frames.HEADER:
            publishing.header(payload)
        elif publishing.method is not None:
            raise ConnectionFault(
                UNEXPECTED_FRAME,
                "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
            )
        elif kind != frames.METHOD:
            raise ConnectionFault(UNEXPECTED_FRAME, f"UNEXPECTED_FRAME - type {kind}, {frames.snippet(payload)}")
        elif payload.startswith(frames.PUBLISH):
            publishing.begin(payload)
        elif payload.startswith(frames.ACK):
            self._ack(*frames.read_ack(payload))
        else:
            return self._method(frames.read_method(payload))
        return True

    def fail(self, fault: ChannelFault, class_id: int, method_id: int) -> None:
        """Close it because of a method that was refused."""
        self._confirms.tell()
        text = frames.shortened(fault.text)
        self._answer(ChannelMethod.Close(fault.code, text, class_id, method_id))
        self.closing = True
        self.stop()
        self.give_back()
        self.leave()

    # The end, in three steps: see Deliveries.

    def stop(self) -> None:
        """Send nothing more."""
        self._confirms.close()
        self._publishing.abandon()
        self.deliveries.stop()

    def give_back(self) -> None:
        """Return what is unsettled to its queues."""
        self.deliveries.give_back()

    def leave(self) -> None:
        """Leave all queues."""
        self.deliveries.leave()

    def _method(self, method: Frame) -> bool:
        if isinstance(method, ChannelMethod.Close):
            self._confirms.tell()
            self.stop()
            self.give_back()
            self.leave()
            self._answer(ChannelMethod.CloseOk())
            return False
        handler = self._handlers.get(type(method))
        if handler is None:
            if method.name.startswith("Tx."):
                raise not_implemented(method.name.lower())
            raise ConnectionFault(COMMAND_INVALID, "COMMAND_INVALID - unimplemented method")
        answer = handler(method)
        if answer is not None and not getattr(method, "nowait", False):
            self._answer(answer)
        return True

    def _await_close_ok(self, kind: int, payload: bytes) -> bool:
        if kind == frames.METHOD:
            if payload.startswith(_CLOSE_OK):
                return False
            if payload.startswith(_CLOSE):
                self._answer(ChannelMethod.CloseOk())
        return True

    def _ack(self, tag: int, multiple: bool) -> None:
        state = self._session.state
        if state.faults.armed and (seconds := state.faults.delayed("ack", self._session.vhost.name)):
            state.scheduler.call_later(seconds, lambda: self._ack_late(tag, multiple))
        else:
            self.deliveries.ack(tag, multiple)

    def _ack_late(self, tag: int, multiple: bool) -> None:
        if self.deliveries.open:
            try:
                self.deliveries.ack(tag, multiple)
            except ChannelFault as fault:
                self.fail(fault, 60, 80)

    def _select(self, _method: Confirm.Select) -> Frame:
        self._confirms.active = True
        return Confirm.SelectOk()

    def _flow(self, method: ChannelMethod.Flow) -> Frame:
        if not method.active:
            raise not_implemented("active=false")
        return ChannelMethod.FlowOk(True)

    def _answer(self, method: Frame) -> None:
        self._session.outbox.send(frames.method(self.number, method))


def _second_open(_method: ChannelMethod.Open) -> Frame | None:
    raise ConnectionFault(CHANNEL_ERROR, "CHANNEL_ERROR - second 'channel.open' seen")
