"""Opening a connection: start, login, tuning, vhost. Owns what is offered and what is refused; sends nothing itself."""

from __future__ import annotations

import hmac
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from pamqp import decode
from pamqp.commands import Connection

from amqtask.testing.devbroker.engine.errors import (
    ACCESS_REFUSED,
    COMMAND_INVALID,
    NOT_ALLOWED,
    ConnectionFault,
)

if TYPE_CHECKING:
    from pamqp.base import Frame

    from amqtask.testing.devbroker.protocol.session import Session

VERSION = "4.3.0"
"""The RabbitMQ that is emulated; clients choose by it what they use."""
CHANNEL_MAX, FRAME_MAX, HEARTBEAT = 2047, 131_072, 60
SMALLEST_FRAME_MAX = 8192
"""Also the limit before tuning."""
MECHANISMS = "PLAIN AMQPLAIN"

_CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)


class LoginRefused(ConnectionFault):
    """Unknown user or wrong password. The client is told when it said that it understands."""


class Misfit(ConnectionFault):
    """The client does not keep to the order or the limits. RabbitMQ hangs up without telling why."""


class Step(Enum):
    """What the client is expected to send next."""

    START_OK = auto()
    TUNE_OK = auto()
    OPEN = auto()
    DONE = auto()


def start() -> Frame:
    """The broker's first word."""
    return Connection.Start(
        server_properties={
            "capabilities": dict.fromkeys(_CAPABILITIES, True),
            "cluster_name": "amqtask@localhost",
            "information": "development only: nothing survives a restart",
            "platform": "Python",
            "product": "amqtask dev broker",
            "version": VERSION,
        },
        mechanisms=MECHANISMS,
    )


class Handshake:
    """Takes the client's answers one after the other and fills the session with what they say.

    Attributes:
        step: what is expected next.
    """

    __slots__ = ("_session", "step")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.step = Step.START_OK

    def receive(self, method: Frame) -> Frame | None:
        """Take a method and return the answer, if it has one.

        Raises:
            LoginRefused: 403.
            Misfit: not what is due here.
            ConnectionFault: 530, no such vhost.
        """
        if self.step is Step.START_OK and isinstance(method, Connection.StartOk):
            self._log_in(method)
            self.step = Step.TUNE_OK
            return Connection.Tune(CHANNEL_MAX, FRAME_MAX, HEARTBEAT)
        if self.step is Step.TUNE_OK and isinstance(method, Connection.TuneOk):
            self._tune(method)
            self.step = Step.OPEN
            return None
        if self.step is Step.OPEN and isinstance(method, Connection.Open):
            self._open(method.virtual_host)
            self.step = Step.DONE
            return Connection.OpenOk()
        raise Misfit(COMMAND_INVALID, f"COMMAND_INVALID - {method.name.lower()} is not expected now")

    def _log_in(self, method: Connection.StartOk) -> None:
        session = self._session
        session.client = dict(method.client_properties or {})
        response: Any = method.response
        data = response.encode() if isinstance(response, str) else bytes(response)
        if method.mechanism == "PLAIN":
            user, password = _plain(data)
        elif method.mechanism == "AMQPLAIN":
            user, password = _amqplain(data)
        else:
            raise Misfit(COMMAND_INVALID, f"COMMAND_INVALID - unknown authentication mechanism '{method.mechanism}'")
        known = session.state.users.get(user)
        if known is None or not hmac.compare_digest(known.encode(), password.encode()):
            raise LoginRefused(
                ACCESS_REFUSED,
                f"ACCESS_REFUSED - Login was refused using authentication mechanism {method.mechanism}. For details "
                "see the broker logfile.",
            )
        session.user = user

    def _tune(self, method: Connection.TuneOk) -> None:
        session = self._session
        session.channel_max = _agreed("channel_max", method.channel_max, CHANNEL_MAX)
        session.frame_max = _agreed("frame_max", method.frame_max, FRAME_MAX)
        if session.frame_max < SMALLEST_FRAME_MAX:
            raise Misfit(
                NOT_ALLOWED,
                f"NOT_ALLOWED - negotiated frame_max = {session.frame_max} is lower than the minimum allowed value "
                f"({SMALLEST_FRAME_MAX})",
            )
        session.heartbeat = method.heartbeat

    def _open(self, vhost: str) -> None:
        try:
            self._session.enter(vhost)
        except KeyError:
            raise ConnectionFault(NOT_ALLOWED, f"NOT_ALLOWED - vhost {vhost} not found") from None


def _agreed(name: str, wanted: int, largest: int) -> int:
    if wanted == 0 or wanted > largest:
        shown = "0 (no limit)" if wanted == 0 else str(wanted)
        raise Misfit(
            NOT_ALLOWED,
            f"NOT_ALLOWED - negotiated {name} = {shown} is higher than the maximum allowed value ({largest})",
        )
    return wanted


def _plain(data: bytes) -> tuple[str, str]:
    try:
        _identity, user, password = data.decode().split("\0")
    except ValueError:
        raise Misfit(NOT_ALLOWED, "response of PLAIN is not NUL, name, NUL, password") from None
    return user, password


def _amqplain(data: bytes) -> tuple[str, str]:
    try:
        table = decode.field_table(len(data).to_bytes(4) + data)[1]
    except (ValueError, IndexError, OverflowError, OSError, RecursionError):
        return "", ""
    return str(table.get("LOGIN", "")), str(table.get("PASSWORD", ""))
