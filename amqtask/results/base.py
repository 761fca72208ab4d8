"""The contract between amqtask and a result backend. Owns the shapes and the registry.

Each backend is a module in ``backends/``.

A backend stores documents (see :mod:`amqtask.results.meta`) under task ids and tells who waits for them. It knows
nothing of tasks, states or exceptions but what a :class:`Record` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from amqtask.errors import BackendError
from amqtask.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from amqtask.config.settings import Settings


class ChordClaimed(BackendError):
    """The store works, but somebody else goes on with this complete chord: look again, in case he dies."""


class Record(NamedTuple):
    """One state of one task on its way to the backend. Plain values: it crosses the pipe to a worker's parent.

    Attributes:
        task_id: of the task.
        state: as stored (``SUCCESS``, ``STARTED``, ...).
        document: the encoded document, maybe compressed.
        content_type, content_encoding: of the document.
        reply_to: the caller's queue, for backends that answer by message; None: the caller wants no answer.
        correlation_id: of that answer.
        final: no other state follows, unless the task is run again.
        signature: of the answer, where messages are signed.
    """

    task_id: str
    state: str
    document: bytes
    content_type: str = "application/json"
    content_encoding: str | None = "utf-8"
    reply_to: str | None = None
    correlation_id: str | None = None
    final: bool = True
    signature: str | None = None


class Part(NamedTuple):
    """The end of one member of a chord. Plain values, as :class:`Record`.

    Attributes:
        chord: the body's signature, as the member's message carries it (a JSON-able dict).
        group_id: of the header.
        group_index: of the member in the header; None in a header without order.
        task_id: of the member; with ``group_index`` it tells a duplicate.
        state: ``SUCCESS``, ``FAILURE`` or ``REVOKED``.
        result: the encoded result: a JSON text ``[1, id, state, result]``, as Celery keeps it in Redis.
    """

    chord: dict[str, object]
    group_id: str
    group_index: int | None
    task_id: str
    state: str
    result: bytes


class Watch(Protocol):
    """Waits for documents of some tasks; to be closed by the caller. Not thread-safe.

    Attributes:
        begun: the backend has answered this watch, so that it was seen to work: a failure is one on the way.
    """

    begun: bool

    def wait(self, timeout: float | None) -> Mapping[str, bytes]:
        """Documents that came since the last call, newest per task id; empty when ``timeout`` seconds passed.

        Raises:
            BackendError: the backend can't be reached; trying again may help.
        """

    async def await_(self, timeout: float | None) -> Mapping[str, bytes]:  # noqa: ASYNC109 -- as wait()
        """Like :meth:`wait`, without blocking the running loop."""

    def close(self) -> None:
        """Stop watching; harmless when closed."""


class Chords(Protocol):
    """Counts the members of chords in the backend itself, exactly once each, whoever reports them how often."""

    def begin(self, group_id: str, size: int) -> None:
        """Client, before any member is sent."""

    def complete(self, part: Part) -> Joined | None:
        """Worker: count a member; the results when it was the last one and this caller has won the right to go on."""

    def dispatched(self, joined: Joined) -> None:
        """The body (or its failure) is confirmed: forget the chord; later duplicates count for nothing."""

    def grow(self, group_id: str, by: int, key: str) -> None:
        """``add_to_chord``: that many members more; counted once per ``key``, however often it is called."""

    def look(self, group_id: str, *, expired: bool) -> Looked:
        """Worker, now and then: goes on with a complete chord that nobody goes on with.

        Args:
            group_id: of the header.
            expired: its time is up: claim it whether it is complete or not.

        Raises:
            ChordClaimed: another caller has claimed it and has not finished: look again.
            BackendError: the server can't be reached, or refuses.
        """


class Looked(NamedTuple):
    """What a look at a chord has found.

    Attributes:
        over: it has ended, or nothing is known of it.
        joined: claimed by who has looked; to be ended with :meth:`Chords.dispatched`.
        missing: members that have not ended; with ``joined``, the body has to fail.
    """

    over: bool
    joined: Joined | None = None
    missing: int = 0


class Joined(NamedTuple):
    """A complete chord, claimed by one worker.

    Attributes:
        group_id: of the header.
        token: of the claim.
        results: encoded results in the order of the header.
    """

    group_id: str
    token: str
    results: tuple[bytes, ...]


class Backend(Protocol):
    """Stores and finds documents. Thread-safe; after a fork the child has connections of its own.

    Every method but ``close`` raises :class:`~amqtask.errors.BackendError` when the backend can't be reached or
    answers with an error; storing again later is then right. Connections are opened when first needed, and bounded by
    ``result_backend_max_connections``.

    Attributes:
        by_message: documents travel as messages to ``Record.reply_to``; ``store`` is never called.
        chords: what counts chords here; None: RabbitMQ does (:mod:`amqtask.worker.chords.counting`).
    """

    by_message: bool
    chords: Chords | None

    def store(self, records: Sequence[Record]) -> None:
        """Store documents, all of them or raise; a stored SUCCESS is never replaced by another state."""

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """The documents that there are."""

    async def afetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Like :meth:`fetch`, without blocking the running loop."""

    def watch(self, task_ids: Collection[str]) -> Watch:
        """Begin to watch, what is stored already included. Where the backend can push, it pushes."""

    def expect(self, task_ids: Collection[str]) -> None:
        """These tasks are about to be sent by this process: be ready for their results. Often nothing."""

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove documents."""

    def save_group(self, group_id: str, document: bytes) -> None:
        """Store what a group consists of."""

    def fetch_group(self, group_id: str) -> bytes | None:
        """What :meth:`save_group` has stored."""

    def forget_group(self, group_id: str) -> None:
        """Remove it."""

    def clean_up(self) -> int:
        """Remove what has expired, in batches; returns how many. Nothing where the store does it by itself."""

    def close(self) -> None:
        """Close connections; a later call opens them again."""

    async def aclose(self) -> None:
        """Close connections of coroutines, in their loop."""


@runtime_checkable
class Timely(Protocol):
    """A backend that can be asked for so long only. Others are asked for as long as their store takes to answer."""

    def fetch_by(self, task_ids: Sequence[str], deadline: float) -> Mapping[str, bytes] | None:
        """:meth:`Backend.fetch`; None when there is no answer by ``deadline`` (monotonic), or soon after it."""


backends: Registry[Callable[[str, Settings], Backend]] = Registry(
    "result backend", "amqtask.results.backends", "BACKEND", "amqtask.backends"
)
"""URL scheme -> factory, called with the URL (``db+postgresql://...`` whole) and the settings."""
