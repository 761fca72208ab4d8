"""What travels between the I/O thread and a pool: a job out, an outcome back.

Owns the two shapes. Both are tuples of plain values, so that they cross a pipe as msgpack.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from amqtask.results.base import Part, Record
    from amqtask.wire.message import Outgoing, PropertiesLike, Table

Error = tuple[str, str, str]
"""Exception type path, message and trimmed traceback."""


class Carried(Protocol):
    """A message on its way, in either direction."""

    @property
    def exchange(self) -> str:
        """Where it was sent."""

    @property
    def routing_key(self) -> str:
        """Its route from there."""

    @property
    def body(self) -> bytes:
        """What is decoded."""


class Job(NamedTuple):
    """One delivery on its way to user code. Has the attributes of ``PropertiesLike``, so the codec reads it.

    ``key`` identifies the delivery inside this worker; ``deliveries`` is how often it was delivered before without
    being settled (0 when the broker does not tell); ``lost`` how many workers or children died running it.
    ``time_limit`` and ``soft_time_limit``, in seconds, are kept by the pool.
    """

    key: int
    queue: str
    exchange: str
    routing_key: str
    redelivered: bool
    deliveries: int
    content_type: str | None
    content_encoding: str | None
    correlation_id: str | None
    reply_to: str | None
    message_id: str | None
    priority: int | None
    headers: Table
    body: bytes
    time_limit: float | None = None
    soft_time_limit: float | None = None

    @classmethod
    def of(
        cls,
        key: int,
        queue: str,
        message: Carried,
        properties: PropertiesLike,
        headers: Table,
        *,
        redelivered: bool = False,
        deliveries: int = 0,
    ) -> Job:
        """The job that a message is.

        Args:
            key: of the delivery.
            queue: it came from.
            message: where it was sent, and its body.
            properties: as a consumer reads them.
            headers: the part of them that the task is to see.
            redelivered: what the broker says of earlier deliveries.
            deliveries: how many there were, when it says so.
        """
        return cls(
            key,
            queue,
            message.exchange,
            message.routing_key,
            redelivered,
            deliveries,
            properties.content_type,
            properties.content_encoding,
            properties.correlation_id,
            properties.reply_to,
            properties.message_id,
            properties.priority,
            headers,
            message.body,
        )


class Kind(IntEnum):
    """How a job ended; :mod:`amqtask.worker.deliveries.outcome` says what follows from each."""

    SUCCESS = 0
    IGNORED = 1
    RETRY = 2
    FAILED = 3
    REJECTED = 4
    REQUEUE = 5
    EXPIRED = 6
    UNKNOWN_TASK = 7
    UNDECODABLE = 8
    REFUSED = 9
    EARLY = 10
    TIMED_OUT = 11
    """Stopped by the hard time limit."""
    REVOKED = 12
    """Not run, or stopped, because it was revoked."""


class Begin(NamedTuple):
    """A chord that has to be known before any of its members is sent.

    Attributes:
        group_id: of the header.
        size: how many members count; when ``more``, how many are added to a chord that exists.
        queue: where RabbitMQ collects the completions; None: the result backend counts.
        lifetime: seconds after which an unused queue may go.
        more: members are added.
    """

    group_id: str
    size: int
    queue: str | None = None
    lifetime: float = 0.0
    more: bool = False


class After(NamedTuple):
    """What follows from a job beside its settlement, in this order; all of it before the ack.

    Attributes:
        messages: callbacks, the next step of a chain: to be confirmed first, so that a stored result tells the truth
            about its children.
        records: states to store.
        parts: chords to count the task in.
        chords: to begin before anything else.
    """

    messages: tuple[Outgoing, ...] = ()
    records: tuple[Record, ...] = ()
    parts: tuple[Part, ...] = ()
    chords: tuple[Begin, ...] = ()


class Outcome(NamedTuple):
    """What a pool reports for one job.

    Attributes:
        key: of the job.
        kind: see :class:`Kind`.
        runtime: seconds inside the task function; 0 when it was not called.
        text: repr of the result (success, when INFO is logged), else the reason in words.
        error: type, message and traceback of the exception, when there was one.
        delay: seconds until the next attempt, for RETRY; until the first one is due, for EARLY.
        headers: header changes for the next attempt (None removes one).
        body: body of the next attempt when its arguments changed, else None: keep the received one.
        exact: ``delay`` is one of the queue's own retry delays, so its retry queue exists.
        after: results and callbacks; None when there are none.
    """

    key: int
    kind: int
    runtime: float = 0.0
    text: str = ""
    error: Error | None = None
    delay: float = 0.0
    headers: dict[str, Any] | None = None
    body: bytes | None = None
    exact: bool = False
    after: After | None = None
