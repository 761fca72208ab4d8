"""Celery's message protocol 1: no headers of its own, one map as body. Owns the names in that map; read, never written.

Sent by Celery up to 3.x, by Celery 4 and 5 with ``task_protocol=1``, and by many clients in other languages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.errors import DecodeError
from amqtask.wire import header_values as values
from amqtask.wire.embedded import checked
from amqtask.wire.message import TaskMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMBEDDED = ("callbacks", "errbacks", "chord")


def read(value: Any, headers: Mapping[str, Any]) -> TaskMessage:
    """The task message that a body of protocol 1 is.

    Args:
        value: the body, unserialized.
        headers: of the message; they are the sender's own.

    Raises:
        DecodeError: it is none, or one of its values makes no sense.
    """
    if not isinstance(value, dict):
        raise DecodeError("not a task message: no header 'task', and the body is not a map of protocol 1")
    name, task_id = value.get("task"), value.get("id")
    if not isinstance(name, str) or not isinstance(task_id, str) or not name or not task_id:
        raise DecodeError("not a task message: 'task' and 'id' of a protocol 1 body must be texts")
    args, kwargs = value.get("args") or (), value.get("kwargs") or {}
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise DecodeError("the body of protocol 1 has args that are not a list, or kwargs that are not a map")
    if any(not isinstance(key, str) for key in kwargs):
        raise DecodeError("a keyword argument's name is not text")
    try:
        return TaskMessage(
            name,
            task_id,
            tuple(args),
            kwargs,
            checked({key: value[key] for key in _EMBEDDED if value.get(key)}),
            retries=values.count(value.get("retries")),
            eta=values.moment(value.get("eta")),
            expires=values.moment(value.get("expires")),
            group=values.text(value, "taskset") or values.text(value, "group"),
            group_index=values.whole(value.get("group_index")),
            timelimit=values.limits(value.get("timelimit")),
            headers=dict(headers),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"a value of the protocol 1 body can't be read: {error}") from None
