"""Remote control on the wire: names on the broker, requests and replies, as Celery (kombu's pidbox) has them.

Owns the shapes, for both sides; docs/reference/wire.md describes them. Nothing here talks to a broker.

    client ──► NAME.pidbox (fanout) ──► NODE.NAME.pidbox ──► worker
           ◄── OID.reply.NAME.pidbox ◄── reply.NAME.pidbox (direct) ◄──
"""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amqtask.errors import DecodeError
from amqtask.topology.declarations import ExchangeDeclare, QueueBind, QueueDeclare
from amqtask.wire.accept import without_pickle
from amqtask.wire.codec import serializer_for
from amqtask.wire.message import PERSISTENT, TRANSIENT, Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from amqtask.topology.declarations import Step
    from amqtask.wire.message import PropertiesLike

_PATTERN_MAX = 200
"""Characters of a pattern that is tried at all."""

_SLOW = re.compile(r"\)[*+?{]|\\\d|\(\?P=|\(\?[a-zA-Z]*x|(?:[*+{].*){4}", re.DOTALL)
"""Regular expressions that may take for ever: a repeated group (also with a blank before it), a back-reference, many
repetitions."""


@dataclass(frozen=True, slots=True)
class Names:
    """Exchanges and queues of remote control.

    Attributes:
        prefix: setting ``control_exchange``.
        ttl: seconds that a message may wait in a queue.
        expires: seconds after which an unused queue goes.
    """

    prefix: str
    ttl: float = 300.0
    expires: float = 10.0

    @property
    def requests(self) -> str:
        """The exchange for requests."""
        return f"{self.prefix}.pidbox"

    @property
    def replies(self) -> str:
        """The exchange for replies."""
        return f"reply.{self.prefix}.pidbox"

    def exchanges(self) -> tuple[Step, ...]:
        """Both exchanges."""
        return (
            ExchangeDeclare(self.requests, "fanout", durable=False, lenient=True),
            ExchangeDeclare(self.replies, "direct", durable=False, lenient=True),
        )

    def mailbox(self, node: str) -> tuple[QueueDeclare, QueueBind]:
        """A worker's queue."""
        name = f"{node}.{self.requests}"
        return self._queue(name), QueueBind(name, self.requests)

    def reply_queue(self, oid: str) -> tuple[QueueDeclare, QueueBind]:
        """The queue of one who asks; ``oid`` is the key of its replies."""
        name = f"{oid}.{self.replies}"
        return self._queue(name), QueueBind(name, self.replies, oid)

    def _queue(self, name: str) -> QueueDeclare:
        arguments = {"x-expires": int(self.expires * 1000), "x-message-ttl": int(self.ttl * 1000)}
        return QueueDeclare(name, durable=False, exclusive=True, auto_delete=True, arguments=arguments)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of workers.

    Attributes:
        method: name of the command.
        arguments: by name.
        destination: nodes that are meant; None: all.
        pattern, matcher: of node names, ``glob`` or ``pcre``; only without a destination.
        ticket: stands in the replies.
        reply_to: (exchange, routing key) of the replies; None: none are wanted.
        clock: the sender's logical clock.
        expires: epoch seconds after which nobody waits any more; 0: never.
    """

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    destination: Sequence[str] | None = None
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_to: tuple[str, str] | None = None
    clock: int = 0
    expires: float = 0.0

    def is_for(self, node: str) -> bool:
        """Is this worker meant?"""
        if self.destination is not None:
            return node in self.destination
        return not self.pattern or not self.matcher or _matches(self.matcher, self.pattern, node)


def _matches(matcher: str, pattern: str, node: str) -> bool:
    if len(pattern) > _PATTERN_MAX:
        return False
    if matcher == "glob":
        return fnmatch.fnmatch(node, pattern)
    if matcher != "pcre" or _SLOW.search(pattern):
        return False
    try:
        return re.match(pattern, node) is not None
    except re.error:
        return False


def request_message(names: Names, request: Request) -> Outgoing:
    """A request as it is published."""
    body: dict[str, Any] = {
        "method": request.method,
        "arguments": dict(request.arguments),
        "destination": None if request.destination is None else list(request.destination),
        "pattern": request.pattern,
        "matcher": request.matcher,
    }
    if request.reply_to is not None:
        exchange, key = request.reply_to
        body |= {"ticket": request.ticket, "reply_to": {"exchange": exchange, "routing_key": key}}
    headers = {"clock": request.clock, "expires": int(request.expires)}
    return Outgoing(names.requests, "", _properties(headers, PERSISTENT), json.dumps(body).encode())


def reply_message(request: Request, node: str, value: Any, clock: int) -> Outgoing:
    """The reply of one node, for a request that wants one."""
    assert request.reply_to is not None
    exchange, key = request.reply_to
    headers: dict[str, Any] = {"clock": clock}
    if request.ticket is not None:
        headers["ticket"] = request.ticket
    return Outgoing(exchange, key, _properties(headers, TRANSIENT), json.dumps({node: value}, default=repr).encode())


def read_request(properties: PropertiesLike, body: bytes, accept: Collection[str]) -> Request:
    """Read what has come to a worker's queue, from whomever.

    Raises:
        DecodeError, ContentRefused: it is no request.
    """
    document = _document(properties, body, accept)
    method, arguments = document.get("method"), document.get("arguments") or {}
    destination, reply_to = document.get("destination"), document.get("reply_to")
    headers = properties.headers or {}
    clock, expires, ticket = headers.get("clock"), headers.get("expires"), document.get("ticket")
    if not isinstance(method, str) or not isinstance(arguments, dict):
        raise DecodeError("no method, or arguments that are not a map")
    if destination is not None and not _are_texts(destination):
        raise DecodeError("the destination is not a list of names")
    if not _are_texts(list(arguments)):
        raise DecodeError("an argument's name is not text")
    return Request(
        method,
        arguments,
        destination,
        _text(document.get("pattern")),
        _text(document.get("matcher")),
        _text(ticket),
        _address(reply_to),
        clock if isinstance(clock, int) else 0,
        float(expires) if isinstance(expires, int | float) else 0.0,
    )


def read_reply(properties: PropertiesLike, body: bytes, accept: Collection[str]) -> dict[str, Any]:
    """The ``{node: value}`` of a reply.

    Raises:
        DecodeError, ContentRefused: it is none.
    """
    document = _document(properties, body, accept)
    if not _are_texts(list(document)):
        raise DecodeError("the name of a node is not text")
    return document


def _document(properties: PropertiesLike, body: bytes, accept: Collection[str]) -> dict[Any, Any]:
    serializer = serializer_for(properties.content_type, ("json", *without_pickle(accept)))
    try:
        document = serializer.loads(body)
    except Exception as error:
        raise DecodeError(f"the body is not {serializer.name}: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError("the body is not a map")
    return document


def _properties(headers: dict[str, Any], delivery_mode: int) -> Properties:
    return Properties("application/json", "utf-8", headers, delivery_mode, 0)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _address(value: Any) -> tuple[str, str] | None:
    if value is None:
        return None
    exchange, key = (value.get("exchange"), value.get("routing_key")) if isinstance(value, dict) else (None, None)
    if not isinstance(exchange, str) or not isinstance(key, str):
        raise DecodeError("reply_to is not an address")
    return exchange, key
