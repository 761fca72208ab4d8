"""Task messages to and from AMQP properties and body: Celery's message protocol 2.

The only place that knows the header names. Headers ``task`` and ``id`` are always written, the others only
when they say something; the body is ``[args, kwargs, embed]``. Messages of protocol 1 are read as well.
Source: docs/reference/wire.md.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from amqtask.errors import ContentRefused, DecodeError, EncodeError
from amqtask.plugins import Registry
from amqtask.wire import header_values as values
from amqtask.wire import protocol1
from amqtask.wire.accept import BY_CONTENT_TYPE
from amqtask.wire.celery_headers import celery_embed, celery_headers
from amqtask.wire.compression import MAX_BODY, compress, decompress
from amqtask.wire.embedded import checked
from amqtask.wire.message import PERSISTENT, Properties, PropertiesLike, TaskMessage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from amqtask.wire.serializers.base import Serializer


class _Serializers(Registry["Serializer"]):
    """By name, or by content type, which Celery's settings may have instead."""

    def _load(self, name: str) -> Serializer:
        return super()._load(BY_CONTENT_TYPE.get(name, name))


serializers = _Serializers("serializer", "amqtask.wire.serializers", "SERIALIZER", "amqtask.serializers")

_BODY_ELEMENTS = 3
PROTOCOL_HEADERS = frozenset(
    {
        "task", "id", "retries", "eta", "expires", "root_id", "parent_id", "group", "group_index",
        "timelimit", "ignore_result", "shadow", "lang", "compression", "argsrepr", "kwargsrepr", "origin",
        "stamps", "stamped_headers", "replaced_task_nesting",
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
    celery: bool = False,
    limit: int = MAX_BODY,
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
        celery: write all headers that a Celery client writes, also those that say nothing.
        limit: bytes of a body that is compressed; receivers unpack no more.

    Raises:
        EncodeError: an argument that the serializer can't write.
        MessageTooLarge: the body is over ``limit``, and would be compressed.
    """
    if celery:
        headers, embed = celery_headers(message), celery_embed(message)
    else:
        headers, embed = lean_headers(message), message.embed
    body = encode_body(message.args, message.kwargs, embed, serializer)
    if compression is not None and len(body) >= compression_min:
        body, headers["compression"] = compress(body, compression, limit)
    properties = Properties(
        serializer.content_type,
        serializer.content_encoding,
        headers,
        delivery_mode,
        priority,
        message.id,
        reply_to,
        expiration,
        message_id or message.id,
    )
    return properties, body


_SAID_AS_IT_IS = (
    "retries", "root_id", "parent_id", "group", "group_index", "shadow", "replaced_task_nesting",
)  # fmt: skip
_beyond_the_call = attrgetter(
    *_SAID_AS_IT_IS, "eta", "expires", "timelimit", "ignore_result", "stamps", "stamped_headers"
)
_NOTHING = _beyond_the_call(TaskMessage("", ""))


def lean_headers(message: TaskMessage) -> dict[str, Any]:
    """The headers of a message that say something; a new dict."""
    headers = {**message.headers, "task": message.task, "id": message.id}
    if _beyond_the_call(message) == _NOTHING:
        return headers
    for key in _SAID_AS_IT_IS:
        if value := getattr(message, key):
            headers[key] = value
    if message.group is not None:
        headers["group_index"] = message.group_index
    if message.eta is not None:
        headers["eta"] = message.eta.isoformat()
    if message.expires is not None:
        headers["expires"] = message.expires.isoformat()
    if message.timelimit != (None, None):
        headers["timelimit"] = [values.plain_number(limit) for limit in message.timelimit]
    if message.ignore_result is not None:
        headers["ignore_result"] = message.ignore_result
    if message.stamps or message.stamped_headers:
        headers["stamped_headers"] = list(message.stamped_headers or message.stamps)
        headers["stamps"] = values.plain_stamps(message.stamps)
    return headers


_PLAIN = frozenset({"task", "id", "ignore_result"})
"""Headers of a message that says nothing else, which is what most messages are."""
_COUNT = "x-delivery-count"
_COUNTED = frozenset({_COUNT})
"""What a quorum queue adds to them."""


def decode(properties: PropertiesLike, body: bytes, accept: Collection[str], limit: int = MAX_BODY) -> TaskMessage:
    """Read a received message, of protocol 2 or 1.

    Args:
        properties: of the delivery.
        body: as received, maybe compressed.
        accept: names of serializers that may be used (``accept_content``).
        limit: bytes that a compressed body may unpack to.

    Raises:
        ContentRefused: the content type is not accepted.
        DecodeError: anything else that is wrong with it.
    """
    headers = properties.headers or {}
    name, task_id = headers.get("task"), headers.get("id")
    if not name and "task" not in headers:
        return protocol1.read(_load_without_name(properties, headers, body, accept, limit), headers)
    if not isinstance(name, str) or not isinstance(task_id, str) or not name or not task_id:
        raise DecodeError("not a task message: the headers 'task' and 'id' must be texts")
    args, kwargs, embed = _split(_load(properties, headers, body, accept, limit))
    more = headers.keys() - _PLAIN
    if not more or more == _COUNTED:
        kept = {_COUNT: headers[_COUNT]} if more else {}
        ignored = values.flag(headers.get("ignore_result"))
        return TaskMessage(name, task_id, args, kwargs, embed, ignore_result=ignored, headers=kept)
    try:
        return TaskMessage(
            name,
            task_id,
            args,
            kwargs,
            embed,
            values.count(headers.get("retries")),
            values.moment(headers.get("eta")),
            values.moment(headers.get("expires")),
            values.text(headers, "root_id"),
            values.text(headers, "parent_id"),
            values.text(headers, "group"),
            values.whole(headers.get("group_index")),
            values.limits(headers.get("timelimit")),
            values.flag(headers.get("ignore_result")),
            values.text(headers, "shadow"),
            {key: value for key, value in headers.items() if key not in PROTOCOL_HEADERS},
            values.stamps(headers.get("stamps")),
            values.names(headers.get("stamped_headers")),
            values.count(headers.get("replaced_task_nesting")),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"a header can't be read: {error}") from None


def _load(
    properties: PropertiesLike, headers: Mapping[str, Any], body: bytes, accept: Collection[str], limit: int
) -> Any:
    """The body as Python values."""
    serializer = serializer_for(properties.content_type, accept)
    if compression := headers.get("compression"):
        body = decompress(body, compression, limit)
    try:
        return serializer.loads(body)
    except Exception as error:
        raise DecodeError(f"the body is not {serializer.name}: {error}") from None


def _load_without_name(
    properties: PropertiesLike, headers: Mapping[str, Any], body: bytes, accept: Collection[str], limit: int
) -> Any:
    """The body of what is of protocol 1, or no task at all: then its content type is the lesser problem."""
    try:
        return _load(properties, headers, body, accept, limit)
    except ContentRefused as error:
        if properties.content_type in BY_CONTENT_TYPE:
            raise
        raise DecodeError(f"not a task message: no header 'task', and {error}") from None


def _split(value: Any) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """The three elements of a body of protocol 2."""
    if not isinstance(value, list | tuple) or len(value) != _BODY_ELEMENTS:
        raise DecodeError("the body is not [args, kwargs, embed]")
    args, kwargs, embed = value
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict | None):
        raise DecodeError("the body is not [args, kwargs, embed]: args is not a list, or kwargs is not a map")
    if kwargs and any(not isinstance(key, str) for key in kwargs):
        raise DecodeError("a keyword argument's name is not text")
    return tuple(args), kwargs or {}, checked(embed) if isinstance(embed, dict) and embed else {}


def serializer_for(content_type: str | None, accept: Collection[str]) -> Serializer:
    """The accepted serializer of a content type.

    Raises:
        ContentRefused: there is none in ``accept``.
    """
    for name in accept:
        serializer = serializers.get(name)
        if content_type == serializer.content_type or content_type == name:  # noqa: PLR1714 -- a tuple costs more
            return serializer
    accepted = ", ".join(dict.fromkeys(accept))
    raise ContentRefused(f"content type {content_type!r} is not accepted (accept_content: {accepted})")
