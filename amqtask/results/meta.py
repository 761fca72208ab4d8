"""The document that a backend keeps of a task: Celery's, with what amqtask adds. Owns its fields and its bytes.

The bytes say by themselves how they are to be read: a backend keeps nothing but them. Compressed ones carry Celery's
marker; of the serializers, each is known by the first byte that it begins a map with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from amqtask.errors import ContentRefused, DecodeError, EncodeError, ResultTooLarge
from amqtask.results.states import READY_STATES
from amqtask.wire.codec import serializers
from amqtask.wire.compression import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from amqtask.wire.serializers.base import Serializer

_COMPRESSED = b"\x00celery-compressed\x00"
"""What Celery 5.7 writes before a compressed document, then the content type of the compression and a zero."""

_OPTIONAL = ("group_id", "parent_id", "name", "args", "kwargs", "worker", "retries", "queue", "runtime")
"""Fields that are written only when they say something, in Celery's order; ``runtime`` is amqtask's own."""


@dataclass(slots=True)
class Meta:
    """What is known of a task. ``result`` is as stored: of a failed task :mod:`amqtask.results.failures` reads it.

    Attributes:
        task_id: of the task.
        status: its state.
        result: what it returned, what ``update_state`` was given, or an exception's document.
        traceback: of its exception, as text.
        children: result tuples ``[[id, parent], members]`` of the tasks that it sent.
        date_done: when it ended, ISO 8601; None before.
        group_id, parent_id: group it is a member of, and task that sent it.
        name, args, kwargs, worker, queue, retries: of the task, with ``result_extended``; amqtask keeps no arguments.
        runtime: seconds inside the task function.
        extra: keys that mean nothing to amqtask, for example Celery's stamps.
    """

    task_id: str
    status: str
    result: Any = None
    traceback: str | None = None
    children: list[Any] = field(default_factory=list)
    date_done: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    args: Any = None
    kwargs: Any = None
    worker: str | None = None
    queue: str | None = None
    retries: int | None = None
    runtime: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether no other state follows, unless the task is run again."""
        return self.status in READY_STATES

    @property
    def done_at(self) -> datetime | None:
        """``date_done``, aware; None before the end, and for a text that is no time."""
        if not self.date_done:
            return None
        try:
            moment = datetime.fromisoformat(self.date_done)
        except ValueError:
            return None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

    def as_dict(self) -> dict[str, Any]:
        """The document, its keys in Celery's order."""
        document = {
            "status": self.status,
            "result": self.result,
            "traceback": self.traceback,
            "children": self.children,
            "date_done": self.date_done,
        }
        for key in _OPTIONAL:
            if (value := getattr(self, key)) is not None:
                document[key] = value
        for key, value in self.extra.items():
            document.setdefault(key, value)  # a stamp named "result" is no result
        document["task_id"] = self.task_id
        return document

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Meta:
        """Read a document, whoever wrote it.

        Raises:
            DecodeError: it has no ``task_id`` or no ``status``.
        """
        task_id, status = document.get("task_id"), document.get("status")
        if not isinstance(task_id, str) or not isinstance(status, str):
            raise DecodeError("not a result: the keys 'task_id' and 'status' must be texts")
        children = document.get("children")
        done = document.get("date_done")
        meta = cls(task_id, status)
        for key, value in document.items():
            if key in _PLAIN:
                setattr(meta, key, value)
            elif key not in _READ:
                meta.extra[key] = value
        meta.traceback = _text(document.get("traceback"))
        meta.children = list(children) if isinstance(children, list | tuple) else []
        meta.date_done = done.isoformat() if isinstance(done, datetime) else _text(done)
        return meta


_PLAIN = frozenset({"result", *_OPTIONAL})
_READ = frozenset({"task_id", "status", "traceback", "children", "date_done"})


def dump(
    meta: Meta, serializer: Serializer, compression: str | None = None, *, limit: int | None = None
) -> tuple[bytes, str, str]:
    """Write a document.

    Args:
        meta: what to write.
        serializer: ``result_serializer``.
        compression: name of a compressor, or None. Not for answers by message: Celery's clients don't expect it there.
        limit: ``result_max_size``, bytes before compression.

    Returns:
        The bytes, their content type and their content encoding.

    Raises:
        EncodeError: the serializer can't write the result.
        ResultTooLarge: more than ``limit`` bytes.
    """
    try:
        data = serializer.dumps(meta.as_dict())
    except Exception as error:  # the value is user code's: its methods may raise anything
        raise EncodeError(f"the result{_of(meta)} can't be stored as {serializer.name}: {error}") from error
    if limit is not None and len(data) > limit:
        raise ResultTooLarge(f"the result{_of(meta)} has {len(data)} bytes; result_max_size is {limit}")
    if compression is None:
        return data, serializer.content_type, serializer.content_encoding
    body, content_type = compress(data, compression)
    return _COMPRESSED + content_type.encode() + b"\x00" + body, serializer.content_type, "binary"


def load(document: bytes, accept: Collection[str]) -> Meta:
    """Read what :func:`dump`, or Celery, has written.

    Args:
        document: the bytes.
        accept: names of serializers that may be used.

    Raises:
        ContentRefused: it is written by a serializer that is not accepted.
        DecodeError: it can't be read.
    """
    value = load_value(document, accept)
    if not isinstance(value, dict):
        raise DecodeError(f"not a result: a map is expected, not {type(value).__name__}")
    return Meta.of(value)


def load_value(document: bytes, accept: Collection[str]) -> Any:
    """Like :func:`load` for any value that begins as a map does, such as the members of a group."""
    if document.startswith(_COMPRESSED):
        content_type, _, document = document[len(_COMPRESSED) :].partition(b"\x00")
        document = decompress(document, content_type.decode("ascii", "replace"))
    name = _written_by(document)
    if name not in accept:
        raise ContentRefused(f"the result is written as {name}, which is not in result_accept_content")
    try:
        return serializers.get(name).loads(document)
    except Exception as error:
        raise DecodeError(f"the result is not {name}: {error}") from None


def _written_by(document: bytes) -> str:
    first = document[:1]
    if first in b"{[ \t\r\n":
        return "json"
    if document[:2] in _PICKLES:
        return "pickle"
    return "msgpack" if first >= b"\x80" else "yaml"


_PICKLES = frozenset(bytes([0x80, protocol]) for protocol in range(2, 6))
"""As msgpack these would begin an empty map with something after it."""


def _of(meta: Meta) -> str:
    return f" of {meta.name}[{meta.task_id}]" if meta.name else f" of task {meta.task_id}"


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
