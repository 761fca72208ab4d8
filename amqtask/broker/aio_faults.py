"""What aiormq says when something fails, as our errors. Owns the reading of its exceptions; performs no I/O."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiormq import exceptions

from amqtask.broker import codes, faults
from amqtask.errors import AccessRefused, BrokerError, QueueFull, Unroutable

if TYPE_CHECKING:
    from amqtask.broker.url import BrokerURL
    from amqtask.wire.message import Outgoing

_CODES: dict[type[exceptions.AMQPError], int] = {
    exceptions.ChannelAccessRefused: codes.ACCESS_REFUSED,
    exceptions.ChannelNotFoundEntity: codes.NOT_FOUND,
    exceptions.ChannelLockedResource: codes.RESOURCE_LOCKED,
    exceptions.ChannelPreconditionFailed: codes.PRECONDITION_FAILED,
}

_ENDED = (ConnectionResetError, BrokenPipeError, EOFError, StopAsyncIteration)
"""The other side hung up: how that shows depends on who was quicker."""

CONNECT_ERRORS = (exceptions.AMQPError, OSError, RuntimeError, EOFError, StopAsyncIteration)
"""What an attempt to connect may raise."""

LOST = (exceptions.AMQPError, OSError, RuntimeError, EOFError, asyncio.InvalidStateError)
"""What a call on a channel may raise when it, or its connection, is gone."""


def refusal(error: BaseException) -> tuple[int, str] | None:
    """Reply code and text when the broker has closed the channel for what was asked of it; else None."""
    if isinstance(error, exceptions.ChannelClosed) and (found := code_and_text(error))[0]:
        return found
    return None


def check_fate(task: asyncio.Future[Any], message: Outgoing) -> None:
    """Raise what became of a publish that has ended."""
    try:
        task.result()
    except exceptions.PublishError as error:
        where = f"exchange {message.exchange!r}" if message.exchange else "the default exchange"
        reason = getattr(getattr(error.message, "delivery", None), "reply_text", None) or "NO_ROUTE"
        raise Unroutable(f"no queue takes routing key {message.routing_key!r} from {where} ({reason})") from None
    except exceptions.DeliveryError:
        raise QueueFull(
            "the broker refused the message: a queue is at its limit (overflow: reject-publish), or failed"
        ) from None


def check_culprit(error: exceptions.ChannelClosed, message: Outgoing, *, alone: bool) -> bool:
    """Raise when the channel was closed for this message; else say whether to try again on a channel alone."""
    code, text = code_and_text(error)
    named = faults.culprit_exchange(code, text)
    if code and (alone or named == message.exchange):
        raise faults.publish_refused(code, text) from None
    return bool(code) and named is None


def code_and_text(error: exceptions.AMQPError) -> tuple[int, str]:
    """AMQP reply code and text of a closed channel; code 0 for anything else."""
    code = _CODES.get(type(error), 0)
    if code:
        return code, str(error.args[0]) if error.args else ""
    if isinstance(error, exceptions.ChannelClosed) and len(error.args) > 1 and error.args[0]:
        return int(error.args[0]), str(error.args[1])
    return 0, str(error)


def connect_error(url: BrokerURL, error: BaseException) -> BrokerError:
    """Why a connection could not be made, as one of our errors with a readable cause."""
    text = " ".join(str(part) for part in error.args)
    refused = _refusal(url, error, text)
    if refused is not None:
        return refused
    if isinstance(error, (exceptions.IncompatibleProtocolError, *_ENDED)):
        return faults.closed_while_opening(url, "closed during the protocol header")
    if isinstance(error.__cause__, _ENDED):
        reset = isinstance(error.__cause__, ConnectionResetError | BrokenPipeError)
        return faults.closed_while_opening(url, "reset" if reset else "closed")
    if isinstance(error, exceptions.AMQPConnectionError) and isinstance(error.__cause__, OSError):
        return faults.unavailable(url, faults.socket_reason(error.__cause__))
    if isinstance(error, OSError) and not isinstance(error, exceptions.AMQPError):
        return faults.unavailable(url, faults.socket_reason(error))
    return faults.unavailable(url, text or type(error).__name__)


def _refusal(url: BrokerURL, error: BaseException, text: str) -> BrokerError | None:
    """The error when the broker has refused us; None when something else went wrong."""
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return faults.login_refused(url)
    if isinstance(error, exceptions.ConnectionNotAllowed):
        return faults.vhost_refused(url, text)
    if isinstance(error, exceptions.InvalidFrameError) and "OpenOk" in text and "Connection.Close" in text:
        # aiormq does not pass on what the broker said
        return AccessRefused(
            f"RabbitMQ at {url.where} does not open vhost {url.vhost!r}: it does not exist, "
            f"or user {url.user!r} may not use it"
        )
    return None
