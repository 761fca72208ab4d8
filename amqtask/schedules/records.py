"""The scheduler's log: the messages of its queue, as values. Owns their form on the wire.

The queue ``amqtask.beat.<app>`` holds a log: the last snapshot of the scheduler's state and what has happened since.
Sent occurrences are in it as copies of the task messages themselves; everything else is a small JSON document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.ids import new_id
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.wire.message import PropertiesLike

Kind = Literal["snapshot", "claim", "command", "ended", "skipped", "sent", "query"]

HEADER: Final = "x-amqtask-beat"
"""Of a task message that the scheduler has sent: the entry, the due time, and where to tell its end."""
REPORT: Final = "report"
"""Key within: the queue that wants to know when the task has ended; absent when nobody does."""
ALWAYS: Final = {"x-single-active-consumer": True}

_TYPE = "amqtask.beat."
_KINDS: Final = ("snapshot", "claim", "command", "ended", "skipped", "query")


def log_name(setting: str | None, app: str) -> str:
    """Name of the queue of an app's log: apps on one vhost have different ones, unless the setting says otherwise."""
    return setting or f"amqtask.beat.{app}"


def log_queue(name: str) -> QueueDeclare:
    """The queue of the log: classic, for its messages are held for long; one consumer at a time."""
    return QueueDeclare(name, arguments={"x-queue-type": "classic", **ALWAYS})


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One message of the log.

    Attributes:
        kind: what it is.
        id: of the message.
        data: what it says.
        reply_to: of a query.
    """

    kind: Kind
    id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    reply_to: str | None = None


def record_message(queue: str, kind: Kind, data: Mapping[str, Any], reply_to: str | None = None) -> Outgoing:
    """A message for the log.

    Args:
        queue: of the log.
        kind: any but ``sent``.
        data: plain values.
        reply_to: of a query: the queue for the answer.

    Raises:
        TypeError, ValueError: JSON can't carry a value.
    """
    body = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
    own = new_id()
    return Outgoing(
        "",
        queue,
        Properties(
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id=own,
            reply_to=reply_to,
            message_id=own,
            type=_TYPE + kind,
        ),
        body,
    )


def read_record(properties: PropertiesLike, body: bytes) -> LogRecord | None:
    """The record that a message is; None for one that is none."""
    headers = properties.headers or {}
    sent = headers.get(HEADER)
    own = properties.message_id or properties.correlation_id or ""
    if isinstance(sent, dict):
        task_id = headers.get("id")
        due = _seconds(sent.get("due"))
        if isinstance(task_id, str) and isinstance(sent.get("entry"), str) and due is not None:
            return LogRecord("sent", own, {**sent, "due": due, "id": task_id, "at": _seconds(sent.get("at")) or due})
        return None
    kind = (getattr(properties, "type", None) or "").removeprefix(_TYPE)
    if kind not in _KINDS:
        return None
    try:
        data = json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return LogRecord(cast("Kind", kind), own, data, properties.reply_to) if isinstance(data, dict) else None


def _finite(text: str) -> float:
    """A number of the log; others can be read, but no snapshot could say them."""
    if isfinite(number := float(text)):
        return number
    raise ValueError(f"{text} is not JSON")


def _seconds(due: object) -> float | None:
    """A due time in the header; a text there, since AMQP clients cut fractions."""
    try:
        return datetime.fromisoformat(due).timestamp() if isinstance(due, str) else None
    except ValueError:
        return None
