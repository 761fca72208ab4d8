"""Messages as rows of the outbox. Owns the columns that hold one, and what is brought up to date when it leaves.

A row holds the message as it would have been published: route, properties, body. Its message id stays what it is
however often the row is sent.
"""

from __future__ import annotations

import calendar
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from amqtask import clock
from amqtask.broker.content import encode_properties
from amqtask.durations import to_milliseconds
from amqtask.errors import DecodeError, EncodeError
from amqtask.topology.delays import EXIT_PREFIX, LONGEST, delay_target, delayed_queues, ladder_level
from amqtask.wire.header_values import moment
from amqtask.wire.message import Outgoing, Properties, strip_broker_headers

if TYPE_CHECKING:
    from amqtask.topology.delays import Target

TABLE: Final = "amqtask_outbox"

_NOTHING = Properties(delivery_mode=None)
_SPOILT = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError, EncodeError)
"""What reading a row may raise that somebody has changed."""


class Row(NamedTuple):
    """One message of the outbox.

    Attributes:
        id: rows are sent in this order.
        exchange, routing_key, properties, body: the message; properties as JSON.
        due: seconds since 1970 before which it is not tried (again).
        attempts: how often the broker has refused it.
        error: the last refusal; None before the first.
    """

    id: int
    exchange: str
    routing_key: str
    properties: str
    body: bytes
    due: int = 0
    attempts: int = 0
    error: str | None = None


def columns_of(message: Outgoing) -> dict[str, Any]:
    """The columns that hold a message, by name.

    Raises:
        TypeError: a header of a type that AMQP has not.
    """
    said = {name: _plain(value) for name, value in message.properties._asdict().items() if value is not None}
    return {
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "properties": json.dumps(said, separators=(",", ":"), allow_nan=False),
        "body": bytes(message.body),
    }


def message_of(row: Row) -> Outgoing:
    """The message that a row holds.

    Raises:
        DecodeError: it holds none; somebody has changed it.
    """
    try:
        said = {name: _read(value) for name, value in json.loads(row.properties).items()}
        properties = _NOTHING._replace(**said)
        encode_properties(properties)
        return Outgoing(str(row.exchange), str(row.routing_key), properties, bytes(row.body))
    except _SPOILT as error:
        raise DecodeError(f"the row is no message: {type(error).__name__}: {error}") from None


def up_to_date(message: Outgoing) -> Outgoing:
    """The message with what is left of its delay and of its life, which began when the row was written.

    Raises:
        DecodeError: its times can't be read.
    """
    try:
        return _up_to_date(message)
    except _SPOILT as error:
        raise DecodeError(f"the row is no message: {type(error).__name__}: {error}") from None


def _up_to_date(message: Outgoing) -> Outgoing:
    properties = message.properties
    headers = properties.headers or {}
    eta, expires, now = moment(headers.get("eta")), moment(headers.get("expires")), clock.utcnow()
    if properties.expiration is not None and expires is not None:
        left = max(to_milliseconds(expires - now), 0)
        message = message._replace(properties=properties._replace(expiration=str(left)))
    if eta is not None and ladder_level(message.exchange) is not None and (queues := delayed_queues(headers)):
        target = _target(headers, queues, min(max(eta - now, timedelta(0)), LONGEST))
        merged = {**strip_broker_headers(headers), **target.headers}
        message = Outgoing(
            target.exchange, target.routing_key, message.properties._replace(headers=merged), message.body
        )
    return message


def _target(headers: Mapping[str, Any], queues: tuple[str, ...], left: timedelta) -> Target:
    keys = [*(headers.get("CC") or ()), *(headers.get("BCC") or ())]
    plain = {key.removeprefix(EXIT_PREFIX) for key in keys if isinstance(key, str) and key.startswith(EXIT_PREFIX)}
    return delay_target(queues, left, plain)


def _plain(value: Any) -> Any:
    """As JSON has it; what that has not is an object of one key, ``$`` and a letter. Names with ``$`` get one more."""
    if value is None or isinstance(value, str | int):  # with flags, and members of enumerations
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$b": b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, datetime):
        return {"$t": calendar.timegm(value.utctimetuple())}
    if isinstance(value, Decimal):
        return {"$d": str(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {f"${name}" if name.startswith("$") else name: _plain(inner) for name, inner in value.items()}
    raise TypeError(f"AMQP has no encoding for {type(value).__name__}")


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$b" in value:
        return b64decode(value["$b"], validate=True)
    if "$t" in value:
        return datetime.fromtimestamp(value["$t"], UTC)
    if "$d" in value:
        return Decimal(value["$d"])
    return {name.removeprefix("$"): _read(inner) for name, inner in value.items()}
