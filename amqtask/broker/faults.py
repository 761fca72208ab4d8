"""What brokers and sockets say when something fails, turned into our errors with readable texts.

Owns the reading of reply codes and texts; knows no client library. No text ever contains a password.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
from typing import TYPE_CHECKING

from amqtask.broker.codes import (
    ACCESS_REFUSED,
    COMMAND_INVALID,
    NOT_ALLOWED,
    NOT_FOUND,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
)
from amqtask.errors import (
    AccessRefused,
    AmqtaskError,
    BrokerError,
    BrokerUnavailable,
    DevBrokerGone,
    InequivalentArguments,
    MessageTooLarge,
    PublishError,
    TopologyError,
    Unroutable,
)
from amqtask.topology.delays import remedy

if TYPE_CHECKING:
    from amqtask.broker.url import BrokerURL

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']*)' for (?P<kind>queue|exchange) '(?P<name>[^']*)'.*?: "
    r"received (?P<wanted>.*?) but current is (?P<existing>.*)"
)
_VALUE = re.compile(r"^(?:the value )?'(?P<value>.*?)'(?: of type '.*')?$")
_NO_SUCH = re.compile(r"no (?:queue|exchange) '")
_NO_EXCHANGE = re.compile(r"no exchange '([^']*)'")
_NO_ACCESS = re.compile(r"access to exchange '([^']*)'")
_TOO_LARGE = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")
_NOBODY_LISTENS = os.strerror(errno.ECONNREFUSED)


def unavailable(url: BrokerURL, reason: str) -> BrokerUnavailable:
    """No connection, or no more, to this broker."""
    if url.dev and reason == _NOBODY_LISTENS:
        return dev_broker_gone(url)
    return BrokerUnavailable(f"no connection to RabbitMQ at {url.where}: {reason}")


def dev_broker_gone(url: BrokerURL) -> DevBrokerGone:
    """It was started for this process tree and does not run any more."""
    return DevBrokerGone(
        f"the dev broker at {url.where} has ended, and everything it held is gone; start again what had started it"
    )


def login_refused(url: BrokerURL) -> AccessRefused:
    """Wrong user or password."""
    if url.external:
        return _shut_out(f"RabbitMQ at {url.where} refused the client certificate (SASL EXTERNAL)")
    return _shut_out(f"RabbitMQ at {url.where} refused user {url.user!r}: wrong user or password")


def _shut_out(text: str) -> AccessRefused:
    error = AccessRefused(text)
    error.for_all = True
    return error


def vhost_refused(url: BrokerURL, text: str) -> BrokerError:
    """The login was fine, opening the vhost was not."""
    if "not found" in text:
        return _shut_out(f"RabbitMQ at {url.where} has no vhost {url.vhost!r}")
    if "refused" in text and "limit" not in text:  # a limit on connections may have room again soon
        return _shut_out(f"RabbitMQ at {url.where}: user {url.user!r} may not use vhost {url.vhost!r}")
    return unavailable(url, f"vhost {url.vhost!r}: {text}" if text else f"vhost {url.vhost!r} can't be opened")


def closed_while_opening(url: BrokerURL, text: str) -> BrokerError:
    """The other side hung up before the handshake was through: tell the usual causes apart by what we offered."""
    if url.tls:
        return unavailable(
            url,
            "the broker closed the TLS connection before AMQP began; it may demand a client certificate "
            f"(cert_file and key_file) or not speak TLS on this port ({text})",
        )
    return unavailable(
        url, f"the other side closed the connection before AMQP began; is it a TLS port (amqps://)? ({text})"
    )


def socket_reason(error: BaseException) -> str:
    """A short cause from a socket, TLS or name resolution error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate was not accepted: {error.verify_message or error.reason}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return _NOBODY_LISTENS  # asyncio writes a text of its own
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def publish_refused(code: int, text: str) -> BrokerError:
    """Why a channel was closed, as the error of the message that caused it."""
    if code == NOT_FOUND:
        return Unroutable(f"the exchange does not exist: {text}")
    if code == ACCESS_REFUSED:
        return AccessRefused(f"publishing was refused: {text}")
    if code == PRECONDITION_FAILED and "larger than" in text:
        return MessageTooLarge(f"the broker refused the message: {text}")
    return PublishError(f"the broker refused the message: {code} {text}")


def is_gone(code: int, text: str) -> bool:
    """Whether a channel was closed because a queue or exchange does not exist.

    RabbitMQ answers with the same code for a queue that is away with its node, or about to come up, and keeps what is
    in it: "home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible", "queue 'q' in vhost '/'
    process is stopped by supervisor".
    """
    return code == NOT_FOUND and _NO_SUCH.search(text) is not None


def culprit_exchange(code: int, text: str) -> str | None:
    """The exchange that a channel was closed for, when the text tells; ``amq.default`` is the empty name."""
    match = {NOT_FOUND: _NO_EXCHANGE, ACCESS_REFUSED: _NO_ACCESS}.get(code, _TOO_LARGE).search(text)
    if match is None or match.re is _TOO_LARGE:
        return None
    return "" if match[1] == "amq.default" else match[1]


def culprit_size(text: str) -> int | None:
    """The size that a too large message exceeded, when the text tells."""
    match = _TOO_LARGE.search(text)
    return int(match[1]) if match else None


def declare_refused(code: int, text: str, subject: str) -> AmqtaskError:
    """Why the broker closed the channel of a declaration.

    Args:
        code: AMQP reply code; 0 when the connection went.
        text: AMQP reply text, or the reason of the loss.
        subject: what was declared, for the message: ``queue 'emails'``.
    """
    match = _INEQUIVALENT.search(text)
    if match:
        return InequivalentArguments(
            match["kind"], match["name"], match["argument"], _value(match["wanted"]), _value(match["existing"])
        )
    if code in (ACCESS_REFUSED, NOT_ALLOWED):
        return AccessRefused(f"{subject}: {text}")
    if is_gone(code, text):
        name = subject.partition("'")[2].rstrip("'")
        return TopologyError(f"{subject} is missing ({text}); {remedy(name)}")
    if code in (RESOURCE_LOCKED, PRECONDITION_FAILED, COMMAND_INVALID) or "COMMAND_INVALID" in text:
        return TopologyError(f"{subject}: {text}")
    if code == 0:
        return BrokerUnavailable(f"connection lost while declaring {subject}: {text}")
    return BrokerError(f"{subject}: {code} {text}")


def _value(printed: str) -> str:
    printed = printed.strip()
    match = _VALUE.match(printed)
    return match["value"] if match else printed
