"""Publishing on one channel. Owns the assembly of method, header and body frames, and what follows a publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine import headers
from amqtask.testing.devbroker.engine.errors import (
    NO_ROUTE,
    SYNTAX_ERROR,
    UNEXPECTED_FRAME,
    ConnectionFault,
    not_implemented,
    precondition_failed,
)
from amqtask.testing.devbroker.engine.message import Message
from amqtask.testing.devbroker.protocol import frames, replies
from amqtask.testing.devbroker.state import MAX_MESSAGE_SIZE

if TYPE_CHECKING:
    from amqtask.testing.devbroker.protocol.channel_confirms import Confirms
    from amqtask.testing.devbroker.protocol.channel_deliveries import Deliveries
    from amqtask.testing.devbroker.protocol.frames import Publish
    from amqtask.testing.devbroker.protocol.session import Session

_REMEMBERED = 256
_USER_ID_FLAG = 0x0010
_HEADERS_HIGH, _REPLY_TO_HIGH, _USER_ID_LOW = headers.HEADERS >> 8, replies.REPLY_TO_FLAG >> 8, _USER_ID_FLAG
_BASIC = b"\x00\x3c"


class Publishing:
    """The publishing half of a channel.

    Attributes:
        method: the publish whose content is awaited; None: there is none.
    """

    __slots__ = ("_channel", "_confirms", "_deliveries", "_header", "_missing", "_parts", "_seen", "_session", "method")

    def __init__(self, channel: int, session: Session, confirms: Confirms, deliveries: Deliveries) -> None:
        self._channel, self._session = channel, session
        self._confirms, self._deliveries = confirms, deliveries
        self.method: Publish | None = None
        self._header: bytes | None = None
        self._missing = 0
        self._parts: list[bytes] = []
        # Publishers repeat themselves: the same bytes are the same method.
        self._seen: dict[bytes, Publish] = {}

    def begin(self, payload: bytes) -> None:
        """The method frame.

        Raises:
            ConnectionFault: 501 when it can't be read, 540 with ``immediate``.
        """
        method = self._seen.get(payload)
        if method is None:
            method = frames.read_publish(payload)
            if method.immediate:
                raise not_implemented("immediate=true")
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[payload] = method
        self.method = method

    def header(self, payload: bytes) -> None:
        """The content header frame.

        Raises:
            ConnectionFault: 505 when none was due.
            ChannelFault: 406 when the body will be too large; else what :meth:`_publish` raises.
        """
        if self.method is None or self._header is not None:
            raise _unexpected(self.method, "header")
        if payload[:2] != _BASIC:
            wrong = int.from_bytes(payload[:2])
            raise ConnectionFault(
                UNEXPECTED_FRAME,
                f"UNEXPECTED_FRAME - expected content header for class 60, got one for class {wrong} instead",
            )
        size = frames.body_size(payload)
        if size > MAX_MESSAGE_SIZE:
            self.abandon()
            raise precondition_failed(
                f"message size {size} is larger than configured max size {MAX_MESSAGE_SIZE}",
            )
        if size:
            self._header, self._missing = payload, size
        else:
            self._publish(payload, b"")

    def body(self, payload: bytes) -> None:
        """A body frame.

        Raises:
            ConnectionFault: 505 when none was due, 501 when it brings more than was announced.
            ChannelFault: what :meth:`_publish` raises.
        """
        header = self._header
        if header is None:
            raise _unexpected(self.method, "body")
        self._missing -= len(payload)
        if self._missing > 0:
            self._parts.append(payload)
            return
        if self._missing < 0:
            raise frames.frame_error(frames.BODY, payload, "content body longer than its header says")
        if self._parts:
            self._parts.append(payload)
            payload = b"".join(self._parts)
            self._parts = []
        self._header = None
        self._publish(header, payload)

    def abandon(self) -> None:
        """Forget what has come of a message."""
        self.method = self._header = None
        self._parts = []

    def _publish(self, header: bytes, body: bytes) -> None:
        """Hand a complete message to the vhost.

        Raises:
            ConnectionFault: 501 or 502, the content header is broken.
            ChannelFault: 403, 404 and 406.
        """
        method, session = self.method, self._session
        assert method is not None
        self.method = None
        if header[12] & _HEADERS_HIGH and not headers.well_formed(header):
            raise frames.frame_error(frames.HEADER, header, "headers can not be read")
        if header[12] & _REPLY_TO_HIGH or header[13] & _USER_ID_LOW:
            header = self._checked(header)
        message = Message(method.exchange, method.routing_key, header, body)
        confirms = self._confirms
        number = confirms.next() if confirms.active else 0
        session.published = True
        if number and session.state.faults.armed and session.state.faults.take("nack", session.vhost.name):
            confirms.refuse(number)
            return
        if not method.exchange and method.routing_key.startswith(replies.REPLY_TO):
            queues, accepted = self._reply(message), True
        else:
            queues, accepted = session.vhost.publish(message)
        if not queues and method.mandatory:
            self._return(message)
        elif accepted:
            session.log.add(message)
        if number:
            if accepted:
                confirms.accept(number)
            else:
                confirms.refuse(number)

    def _checked(self, header: bytes) -> bytes:
        session = self._session
        try:
            if headers.has(header, _USER_ID_FLAG):
                start, end = headers.locate(header, _USER_ID_FLAG)
                user = header[start + 1 : end].decode(errors="replace")
                if user != session.user:
                    raise precondition_failed(
                        f"user_id property set to '{user}' but authenticated user was '{session.user}'"
                    )
            if headers.has(header, replies.REPLY_TO_FLAG) and replies.asks_for_reply(header):
                address = self._deliveries.reply_address
                if address is None:
                    raise precondition_failed("fast reply consumer does not exist")
                header = replies.with_address(header, address)
        except headers.Malformed as error:
            raise ConnectionFault(SYNTAX_ERROR, f"SYNTAX_ERROR - {error}") from None
        return header

    def _reply(self, message: Message) -> int:
        receive = self._session.state.replies.get(message.routing_key)
        if receive is None:
            return 0
        receive(message)
        return 1

    def _return(self, message: Message) -> None:
        send, session = self._session.outbox.send, self._session
        address = frames.address(message.exchange, message.routing_key)
        send(frames.basic_return(self._channel, NO_ROUTE, "NO_ROUTE", address))
        send(frames.content(self._channel, message.header, message.body, session.frame_max))


def _unexpected(method: Publish | None, kind: str) -> ConnectionFault:
    if method is None:
        what = "expected method frame, got non method frame instead"
    elif kind == "header":
        what = "expected content body, got non content body frame instead"
    else:
        what = "expected content header for class 60, got non content header frame instead"
    return ConnectionFault(UNEXPECTED_FRAME, f"UNEXPECTED_FRAME - {what}")
