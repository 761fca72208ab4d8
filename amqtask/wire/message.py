"""Messages as values: what goes out, what comes in, and what a task message says once decoded.

Owns the shapes only; :mod:`amqtask.wire.codec` turns one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

Table = Mapping[str, Any]
"""An AMQP field table: headers or x-arguments."""

PERSISTENT = 2
"""AMQP delivery mode of a message that survives the restart of a broker."""

TRANSIENT = 1
"""The one of a message that need not."""

BROKER_HEADERS = frozenset(
    {"x-death", "CC", "BCC", "x-delivery-count", "x-acquired-count"}
    | {f"x-{which}-death-{what}" for which in ("first", "last") for what in ("exchange", "queue", "reason")}
)
"""Headers that belong to one stay in a queue; re-publishing them loses messages (x-death, RabbitMQ 3.10)."""


class Properties(NamedTuple):
    """AMQP 0-9-1 basic properties; the field names are pika's and the specification's."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Table | None = None
    delivery_mode: int | None = PERSISTENT
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None


class PropertiesLike(Protocol):
    """What is read of a received message's properties; :class:`Properties` and pika's object both fit."""

    @property
    def content_type(self) -> str | None: ...  # noqa: D102
    @property
    def content_encoding(self) -> str | None: ...  # noqa: D102
    @property
    def headers(self) -> Table | None: ...  # noqa: D102
    @property
    def priority(self) -> int | None: ...  # noqa: D102
    @property
    def correlation_id(self) -> str | None: ...  # noqa: D102
    @property
    def reply_to(self) -> str | None: ...  # noqa: D102
    @property
    def message_id(self) -> str | None: ...  # noqa: D102


class Outgoing(NamedTuple):
    """A message ready to be published. Every publish is mandatory and confirmed."""

    exchange: str
    routing_key: str
    properties: Properties
    body: bytes


def strip_broker_headers(headers: Table | None) -> dict[str, Any]:
    """The headers without those that belong to one stay in a queue; a new dict."""
    return {key: value for key, value in (headers or {}).items() if key not in BROKER_HEADERS}


@dataclass(slots=True)
class TaskMessage:
    """A decoded task message (protocol 2). Durations in seconds, times aware.

    Attributes:
        task, id: name and id of the task; both are required on the wire.
        args, kwargs: the call.
        embed: callbacks, errbacks, chain and chord, when there are any.
        retries: how often it was retried; 0 on the first attempt.
        eta, expires: earliest start and latest start, or None.
        root_id, parent_id, group, group_index: its place in a canvas.
        timelimit: (hard, soft) in seconds, each or None.
        ignore_result: True or False when the sender said so, None to let the task decide.
        shadow: the name to show instead of the task's, or None.
        headers: every other header, the sender's own ones included.
        stamps: what a canvas was stamped with: name -> text, number, or a list of them.
        stamped_headers: names of the stamps, in the sender's order; written as the names of ``stamps`` when empty.
        replaced_task_nesting: how often the task replaced itself by another one.
    """

    task: str
    id: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    embed: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    timelimit: tuple[float | None, float | None] = (None, None)
    ignore_result: bool | None = None
    shadow: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)
    stamps: dict[str, Any] = field(default_factory=dict)
    stamped_headers: tuple[str, ...] = ()
    replaced_task_nesting: int = 0
