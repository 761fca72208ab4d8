"""The errors a broker answers with. Owns reply codes and RabbitMQ's wording, which clients parse."""

from __future__ import annotations

from typing import Any

CONTENT_TOO_LARGE = 311
NO_ROUTE = 312
CONNECTION_FORCED = 320
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
FRAME_ERROR = 501
SYNTAX_ERROR = 502
COMMAND_INVALID = 503
CHANNEL_ERROR = 504
UNEXPECTED_FRAME = 505
RESOURCE_ERROR = 506
NOT_ALLOWED = 530
NOT_IMPLEMENTED = 540
INTERNAL_ERROR = 541


class Fault(Exception):
    """A refused method.

    Attributes:
        code: AMQP reply code.
        text: reply text with its leading name, as ``NOT_FOUND - no queue 'x' in vhost '/'``.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class ChannelFault(Fault):
    """Closes the channel (a soft error)."""


class ConnectionFault(Fault):
    """Closes the connection (a hard error)."""


def not_found(kind: str, name: str, vhost: str) -> ChannelFault:
    """No such queue or exchange."""
    return ChannelFault(NOT_FOUND, f"NOT_FOUND - no {kind} '{name}' in vhost '{vhost}'")


def access_refused(text: str) -> ChannelFault:
    """The client may not do that."""
    return ChannelFault(ACCESS_REFUSED, f"ACCESS_REFUSED - {text}")


def locked(queue: str, vhost: str) -> ChannelFault:
    """An exclusive queue belongs to another connection."""
    return ChannelFault(
        RESOURCE_LOCKED,
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '{vhost}'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration.",
    )


def precondition_failed(text: str) -> ChannelFault:
    """Something is not as the method demands."""
    return ChannelFault(PRECONDITION_FAILED, f"PRECONDITION_FAILED - {text}")


def inequivalent(argument: str, kind: str, name: str, vhost: str, received: Any, current: Any) -> ChannelFault:
    """A declaration differs from what exists; ``received`` and ``current`` are already in RabbitMQ's notation."""
    return precondition_failed(
        f"inequivalent arg '{argument}' for {kind} '{name}' in vhost '{vhost}': received {received} but current is "
        f"{current}"
    )


def not_implemented(what: str) -> ConnectionFault:
    """The dev broker, or AMQP as RabbitMQ speaks it, has no such method."""
    return ConnectionFault(NOT_IMPLEMENTED, f"NOT_IMPLEMENTED - {what}")
