"""Task messages to and from AMQP properties and body: Celery's message protocol 2.

The only place that knows the header names. Headers ``task`` and ``id`` are always written, the others only
when they say something; the body is ``[args, kwargs, embed]``. Source: docs/reference/wire.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from amqtask.errors import ContentRefused, DecodeError, EncodeError
from amqtask.plugins import Registry
from amqtask.wire.compression import compress, decompress
from amqtask.wire.message import PERSISTENT, Properties, PropertiesLike, TaskMessage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from amqtask.wire.serializers.base import Serializer

serializers: Registry[Serializer] = Registry(
    "serializer", "amqtask.wire.serializers", "SERIALIZER", "amqtask.serializers"
)

_BODY_ELEMENTS = 3
PROTOCOL_HEADERS = frozenset(
    {
        "task", "id", "retries", "eta", "expires", "root_id", "parent_id", "group", "group_index",
        "timelimit", "ignore_result", "shadow", "lang", "compression", "argsrepr", "kwargsrepr", "origin",
    }
)  # fmt: skip
"""Headers that the protocol gives a meaning: :class:`TaskMessage` has fields for them, or they say nothing to
us."""


def encode_body(
    args: Sequence[Any], kwargs: Mapping[str, Any], embed: Mapping[str, Any] | None, serializer: Serializer
) -> bytes:
    """Write a body.

    Raises:
        EncodeError: an argument that the serializer can't write.
    """
    try:
        return serializer.dumps([args, kwargs, embed or {}])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError(f"arguments can't be sent as {serializer.name}: {error}") from error


def encode(
    message: TaskMessage,
    *,
    serializer: Serializer,
    compression: str | None = None,
    compression_min: int = 0,
    priority: int | None = None,
    reply_to: str | None = None,
    expiration: str | None = None,
    message_id: str | None = None,
    delivery_mode: int = PERSISTENT,
) -> tuple[Properties, bytes]:
    """Write a task message as AMQP properties and body.

    Args:
        message: what to send; ``message.headers`` are merged in beside the protocol's own.
        serializer: writes the body.
        compression: name of a compressor, or None.
        compression_min: bytes; a smaller body is left as it is.
        priority: AMQP property, as the others below.
        reply_to: queue for the result.
        expiration: milliseconds, as text.
        message_id: of this publish; the task id when None. Two publishes must not share one (docs/adr/0008).
        delivery_mode: persistent unless said otherwise.

    Raises:
        EncodeError: an argument that the serializer can't write.
    """
    headers = dict(message.headers)
    headers["task"], headers["id"] = message.task, message.id
    for key in ("retries", "root_id", "parent_id", "group", "group_index", "shadow"):
        if value := getattr(message, key):
            headers[key] = value
    if message.group is not None:
        headers["group_index"] = message.group_index
    if message.eta is not None:
        headers["eta"] = message.eta.isoformat()
    if message.expires is not None:
        headers["expires"] = message.expires.isoformat()
    if message.timelimit != (None, None):
        # pika can't write floats into a header table: whole seconds as integers, the rest as text
        headers["timelimit"] = [_plain_number(limit) for limit in message.timelimit]
    if message.ignore_result is not None:
        headers["ignore_result"] = message.ignore_result
    body = encode_body(message.args, message.kwargs, message.embed, serializer)
    if compression is not None and len(body) >= compression_min:
        body, headers["compression"] = compress(body, compression)
    properties = Properties(
        content_type=serializer.content_type,
        content_encoding=serializer.content_encoding,
        headers=headers,
        delivery_mode=delivery_mode,
        priority=priority,
        correlation_id=message.id,
        reply_to=reply_to,
        expiration=expiration,
        message_id=message_id or message.id,
    )
    return properties, body


def _plain_number(value: float | None) -> int | str | None:
    return value if value is None else int(value) if value == int(value) else str(value)


_PLAIN = frozenset({"task", "id"})
"""Headers of a message that says nothing else, which is what most messages are."""


def decode(properties: PropertiesLike, body: bytes, accept: Collection[str]) -> TaskMessage:
    """Read a received message.

    Args:
        properties: of the delivery.
        body: as received, maybe compressed.
        accept: names of serializers that may be used (``accept_content``).

    Raises:
        ContentRefused: the content type is not accepted.
        DecodeError: anything else that is wrong with it.
    """
    headers = dict(properties.headers or {})
    name, task_id = headers.get("task"), headers.get("id")
    if not isinstance(name, str) or not isinstance(task_id, str) or not name or not task_id:
        raise DecodeError("not a task message: the headers 'task' and 'id' must be texts")
    args, kwargs, embed = _decode_body(properties, headers, body, accept)
    if headers.keys() <= _PLAIN:
        return TaskMessage(name, task_id, tuple(args), kwargs, embed)
    try:
        return TaskMessage(
            task=name,
            id=task_id,
            args=tuple(args),
            kwargs=kwargs,
            embed=embed,
            retries=max(int(headers.get("retries") or 0), 0),
            eta=_time(headers.get("eta")),
            expires=_time(headers.get("expires")),
            root_id=_text(headers, "root_id"),
            parent_id=_text(headers, "parent_id"),
            group=_text(headers, "group"),
            group_index=_whole(headers.get("group_index")),
            timelimit=_limits(headers.get("timelimit")),
            ignore_result=_flag(headers.get("ignore_result")),
            shadow=_text(headers, "shadow"),
            headers={key: value for key, value in headers.items() if key not in PROTOCOL_HEADERS},
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"a header can't be read: {error}") from None


def _decode_body(
    properties: PropertiesLike, headers: Mapping[str, Any], body: bytes, accept: Collection[str]
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    serializer = _serializer_for(properties.content_type, accept)
    if headers.get("compression"):
        body = decompress(body, headers["compression"])
    try:
        value = serializer.loads(body)
    except Exception as error:
        raise DecodeError(f"the body is not {serializer.name}: {error}") from None
    if not isinstance(value, list | tuple) or len(value) != _BODY_ELEMENTS:
        raise DecodeError("the body is not [args, kwargs, embed]")
    args, kwargs, embed = value
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict | None):
        raise DecodeError("the body is not [args, kwargs, embed]: args is no list, or kwargs no map")
    if any(not isinstance(key, str) for key in kwargs or ()):
        raise DecodeError("a keyword argument's name is not a text")
    return list(args), kwargs or {}, embed if isinstance(embed, dict) else {}


def _serializer_for(content_type: str | None, accept: Collection[str]) -> Serializer:
    for name in accept:
        serializer = serializers.get(name)
        if content_type in (serializer.content_type, name):
            return serializer
    accepted = ", ".join(accept)
    raise ContentRefused(f"content type {content_type!r} is not accepted (accept_content: {accepted})")


def _text(headers: Mapping[str, Any], name: str) -> str | None:
    value = headers.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise ValueError(f"{name} is {value!r:.100}, not a text")


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _time(value: Any) -> datetime | None:
    if not value:
        return None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = datetime.fromisoformat(value)
    else:
        raise TypeError(f"{value!r:.100} is not a time")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _limits(value: Any) -> tuple[float | None, float | None]:
    if not value:
        return None, None
    hard, soft = value
    return (None if hard is None else float(hard), None if soft is None else float(soft))
