"""What every backend does with records and documents before it stores them. Owns how a document's state is read.

A backend that has no column for the state has to read it from the document. Documents are small JSON texts as a rule,
and Celery's begin with the state; others (msgpack, compressed) are unpacked for that, which happens only when a state
that is no success meets a document that is there already.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from amqtask.errors import AmqtaskError
from amqtask.results import states
from amqtask.results.meta import load_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import TypeVar

    from amqtask.results.base import Record

    T = TypeVar("T")

TASK_PREFIX = "celery-task-meta-"
GROUP_PREFIX = "celery-taskset-meta-"
"""Names of keys, as Celery has them in every store without tables."""

_READABLE = ("json", "msgpack", "yaml")
_BEGIN = re.compile(rb'\s*\{\s*"status"\s*:\s*"([A-Za-z_0-9-]+)"')


def newest(records: Iterable[Record]) -> list[Record]:
    """One record per task, the last one, or the SUCCESS; sorted by task id, so that two batches lock rows alike."""
    kept: dict[str, Record] = {}
    for record in records:
        before = kept.get(record.task_id)
        if before is None or before.state != states.SUCCESS or record.state == states.SUCCESS:
            kept[record.task_id] = record
    return [kept[task_id] for task_id in sorted(kept)]


def key_part(name: str, longest: int) -> str:
    """An id as a part of a key: percent-encoded, or where that is longer than the store takes, its SHA-256."""
    text = quote(name, safe="")
    return text if len(text) <= longest else digest(name)


def digest(name: str) -> str:
    """What stands for an id that a store does not take as it is."""
    return hashlib.sha256(name.encode()).hexdigest()


def state_of(document: bytes) -> str | None:
    """The state in an encoded document; None when it can't be read."""
    begin = _BEGIN.match(document)
    if begin:
        return begin[1].decode()
    meta = read(document)
    state = meta.get("status") if isinstance(meta, dict) else None
    return state if isinstance(state, str) else None


def read(document: bytes) -> Any:
    """What a document holds; None when it can't be read."""
    try:
        return load_value(document, _READABLE)
    except (AmqtaskError, ValueError):
        return None


def pieces(items: Sequence[T] | Collection[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``: stores limit what one question may hold."""
    every = list(items)
    for start in range(0, len(every), size):
        yield every[start : start + size]
