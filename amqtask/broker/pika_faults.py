"""What pika's exceptions mean, as errors of ours with a readable cause.

Owns that translation; the texts are in :mod:`amqtask.broker.faults`.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from pika import exceptions
from pika.adapters.utils import connection_workflow

from amqtask.broker import codes, faults
from amqtask.errors import AccessRefused, BrokerError, BrokerUnavailable

if TYPE_CHECKING:
    from amqtask.broker.url import BrokerURL


def connect_error(url: BrokerURL, error: BaseException) -> BrokerError:  # noqa: PLR0911 -- a table of causes
    """Why a connection could not be made, as one of our errors with a readable cause."""
    error = _cause(error)
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    if isinstance(error, exceptions.AuthenticationError):
        return faults.login_refused(url)
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError):
        return _ended_in_handshake(url, error, text)
    if isinstance(error, exceptions.IncompatibleProtocolError):
        return faults.closed_while_opening(url, "closed during the protocol header")
    if isinstance(error, exceptions.ConnectionClosed):
        return closed_by_broker(url, error.reply_code, error.reply_text)
    if isinstance(error, exceptions.ConnectionOpenAborted):
        return faults.unavailable(url, "no answer in time")
    if isinstance(error, connection_workflow.AMQPConnectorException | exceptions.StreamLostError):
        return faults.unavailable(url, "no answer in time" if "Timeout" in type(error).__name__ else text)
    if isinstance(error, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError) and url.tls:
        return faults.closed_while_opening(url, faults.socket_reason(error))
    return faults.unavailable(url, faults.socket_reason(error))


def _ended_in_handshake(url: BrokerURL, error: BaseException, text: str) -> BrokerError:
    """Pika takes any end of the connection while logging in for a refusal; believe only what the broker said.

    A connection that was cut just then must not look like a wrong password: that is not tried again.
    """
    if "ConnectionClosedByBroker" not in text:
        return faults.unavailable(url, "the connection was lost while logging in")
    if isinstance(error, exceptions.ProbableAccessDeniedError):
        return faults.vhost_refused(url, text)
    if f"({codes.ACCESS_REFUSED})" in text:
        return faults.login_refused(url)
    return faults.unavailable(url, f"closed by the broker while logging in: {text}")


def _cause(error: BaseException) -> BaseException:
    """Peel off the layers in which pika's connection workflow wraps the cause."""
    while True:
        inner: Any = None
        if isinstance(error, connection_workflow.AMQPConnectionWorkflowFailed):
            inner = error.exceptions[-1]
        elif isinstance(error, connection_workflow.AMQPConnectorPhaseErrorBase):
            inner = error.exception
        elif error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None:
            return error
        error = inner


def closed_by_broker(url: BrokerURL, code: int, text: str) -> BrokerError:
    """A connection.close of the broker."""
    if code == codes.ACCESS_REFUSED:
        return AccessRefused(f"RabbitMQ at {url.where}: {text}")
    if code == codes.NOT_ALLOWED:
        return faults.vhost_refused(url, text)
    return faults.unavailable(url, f"closed by the broker: {code} {text}")


def loss_error(url: BrokerURL, error: BaseException) -> BrokerError:
    """Why an open connection ended."""
    if isinstance(error, exceptions.ConnectionClosedByClient):
        return BrokerUnavailable(f"the connection to RabbitMQ at {url.where} was closed here")
    if isinstance(error, exceptions.ConnectionClosed):
        return closed_by_broker(url, error.reply_code, error.reply_text)
    if isinstance(error, exceptions.AMQPHeartbeatTimeout):
        return faults.unavailable(url, "no heartbeat from the broker")
    return faults.unavailable(url, "the connection was lost")


def channel_end(reason: BaseException) -> tuple[int, str]:
    """Reply code and text of a channel's end; code 0 for the end of its connection, or by our own wish."""
    if isinstance(reason, exceptions.ChannelClosed):
        # closed by us: pika gives our own reply code, 0, which the contract keeps for the connection's end
        return reason.reply_code, reason.reply_text
    if isinstance(reason, exceptions.ConnectionClosed):
        return 0, f"{reason.reply_code} {reason.reply_text}"
    return 0, str(reason) or type(reason).__name__
