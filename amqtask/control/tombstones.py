"""Revocations that outlive everybody: the queue they are kept in, their shape, and what a set of them says.

Owns both. On RabbitMQ the queue is a stream that every worker reads from its start; brokers without streams have a
classic queue, which a worker looks through when it starts. Entries go after ``revoke_expires``.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import DecodeError
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.topology.declarations import Version

QUEUE = "amqtask.revoked"
"""Name of the queue."""

_SEGMENT = 1_000_000
"""Bytes of a file of the stream. A stream forgets whole files: the default of 500 MB would keep entries for ever."""

_IDS_PER_MESSAGE = 1000

KEPT_MAX = 1_000_000
"""Most revocations that a worker remembers; the oldest go first."""


def has_streams(version: Version) -> bool:
    """Can the queue be a stream? The dev broker has none."""
    return version.product == "RabbitMQ" and version.at_least(3, 9)


def queue(version: Version, expires: float) -> QueueDeclare:
    """The queue, for a broker of this version; entries are kept for ``expires`` seconds."""
    if has_streams(version):
        arguments: dict[str, Any] = {
            "x-queue-type": "stream",
            "x-max-age": f"{max(1, int(expires))}s",
            "x-stream-max-segment-size-bytes": _SEGMENT,
        }
    else:
        arguments = {"x-message-ttl": int(expires * 1000)}
    return QueueDeclare(QUEUE, arguments=arguments, lenient=True)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One entry.

    Attributes:
        until: epoch seconds at which it has no meaning any more.
        ids: of tasks.
        stamps: name -> values: tasks that are stamped with one of them.
        mark: of a reader, who knows by it that everything before has been read; such an entry revokes nothing.
    """

    until: float
    ids: tuple[str, ...] = ()
    stamps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mark: str = ""


def tombstones(ids: Sequence[str], expires: float) -> list[Tombstone]:
    """Entries for tasks, valid for this many seconds from now."""
    until = clock.wall() + expires
    return [Tombstone(until, tuple(ids[at : at + _IDS_PER_MESSAGE])) for at in range(0, len(ids), _IDS_PER_MESSAGE)]


def message(tombstone: Tombstone) -> Outgoing:
    """An entry as it is published."""
    stamps = {name: list(values) for name, values in tombstone.stamps.items()}
    body: dict[str, Any] = {"until": tombstone.until, "ids": list(tombstone.ids), "stamps": stamps}
    if tombstone.mark:
        body = {"mark": tombstone.mark}
    return Outgoing("", QUEUE, Properties("application/json", "utf-8"), json.dumps(body).encode())


def read(body: bytes) -> Tombstone:
    """Read an entry.

    Raises:
        DecodeError: it is none.
    """
    try:
        document = json.loads(body)
        if "mark" in document:
            return Tombstone(0.0, mark=str(document["mark"]))
        stamps = {str(name): tuple(map(str, values)) for name, values in document["stamps"].items()}
        return Tombstone(float(document["until"]), tuple(map(str, document["ids"])), stamps)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise DecodeError(f"not a revocation: {error!r}") from None


def stamp_values(value: Any) -> tuple[str, ...]:
    """The values of one stamp, as texts: Celery's clients send a list or a single value."""
    return tuple(map(str, value)) if isinstance(value, list | tuple | set | frozenset) else (str(value),)


class Revoked:
    """What is revoked, as far as it is known here. Not thread-safe.

    Args:
        limit: how many ids are remembered.
    """

    def __init__(self, limit: int = KEPT_MAX) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._stamps: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, tombstone: Tombstone) -> None:
        """Take an entry in; one that has run out says nothing."""
        if tombstone.until <= clock.wall():
            return
        for task_id in tombstone.ids:
            self._ids[task_id] = max(tombstone.until, self._ids.pop(task_id, 0.0))
        for name, values in tombstone.stamps.items():
            for value in values:
                self._stamps[name, value] = max(tombstone.until, self._stamps.get((name, value), 0.0))
        while len(self._ids) > self._limit:
            self._ids.popitem(last=False)

    def ids(self) -> list[str]:
        """Every id that is revoked."""
        self._forget()
        return list(self._ids)

    def stamps(self) -> dict[str, list[str]]:
        """Every stamp that is revoked: name -> values."""
        self._forget()
        found: dict[str, list[str]] = {}
        for name, value in self._stamps:
            found.setdefault(name, []).append(value)
        return found

    def says(self, task_id: str | None, stamps: Any = None) -> bool:
        """Is a task revoked?

        Args:
            task_id: of it.
            stamps: the header of this name, as it came.
        """
        if not self._ids and not self._stamps:
            return False
        now = clock.wall()
        if task_id is not None and self._ids.get(task_id, 0.0) > now:
            return True
        if not self._stamps or not isinstance(stamps, dict):
            return False
        pairs = ((str(name), value) for name, values in stamps.items() for value in stamp_values(values))
        return any(self._stamps.get(pair, 0.0) > now for pair in pairs)

    def _forget(self) -> None:
        now = clock.wall()
        self._ids = OrderedDict((task_id, until) for task_id, until in self._ids.items() if until > now)
        self._stamps = {stamp: until for stamp, until in self._stamps.items() if until > now}
