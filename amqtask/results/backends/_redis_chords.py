"""Chords counted in Redis, with Celery 5.7's keys: workers of both kinds can share one.

Keys begin with that of the saved group: ``.s`` size, ``.t`` members added later, ``.g`` what has added them, ``.j``
results (a sorted set by index, or a list where Celery keeps no order), ``.d`` members counted, ``.c`` the claim of the
worker that goes on, then ``done``.

Once each: a member is counted once however often it is reported, and one worker at a time holds the claim. A worker
that finds a complete chord claimed by another one gets an error, and with it the duty to look again: so the chord goes
on even when the claimant has died.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.results import states
from amqtask.results.backends import _redis_scripts as scripts
from amqtask.results.backends._records import read
from amqtask.results.base import ChordClaimed, Joined, Looked
from amqtask.topology.chords import lifetime
from amqtask.wire.codec import serializers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.backends._redis_client import Link
    from amqtask.results.base import Part

CLAIM_SECONDS = 10
"""How long a claim holds unless its holder takes it again: many times what sending a body takes. When the holder dies,
this much longer is waited for."""
DONE_SECONDS = 300
"""How long late duplicates of a finished chord are recognised."""

_OVER, _COMPLETE, _CLAIMED, _EXPIRED = -1, 1, 2, 3


class Store(Protocol):
    """What chords need of the backend."""

    settings: Settings

    def link(self) -> Link:
        """To the server."""

    def group_key(self, group_id: str, suffix: str = "") -> bytes:
        """Key of what is kept about a group."""

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Documents of tasks."""

    def fetch_group(self, group_id: str) -> bytes | None:
        """The saved group."""


class RedisChords:
    """Counts members. Thread-safe.

    Args:
        store: the backend.
        ordered: results in the order of the header (transport option ``result_chord_ordered``).
    """

    def __init__(self, store: Store, *, ordered: bool) -> None:
        self._store, self._ordered = store, ordered
        self._expires = int(lifetime(store.settings.chord_expires))
        self._failed: dict[tuple[str, str, int | None], str] = {}
        """Tokens of calls that failed and may have claimed their chord."""

    def begin(self, group_id: str, size: int) -> None:
        """Say how many members there are, before any is sent; again is harmless."""
        self._call(f"begin chord {group_id}", scripts.BEGIN, group_id, ".s.c", size, self._expires)

    def grow(self, group_id: str, by: int, key: str) -> None:
        """That many members more, once per key."""
        self._call(f"grow chord {group_id}", scripts.GROW, group_id, ".t.g.c", by, self._expires, key)

    def complete(self, part: Part) -> Joined | None:
        """Count a member; the results, when all are there and this caller goes on.

        Raises:
            ChordClaimed: another caller has claimed the complete chord and has not finished: look again.
            BackendError: the server can't be reached, or refuses.
        """
        member = (part.group_id, part.task_id, part.group_index)
        token = self._failed.pop(member, None) or uuid.uuid4().hex
        try:
            code, *found = self._count(part, token)
            results = (self._nested(part.group_id) or tuple(found[0])) if code == _COMPLETE else ()
        except BaseException:
            self._failed[member] = token  # the claim may be ours: the next attempt takes it up
            raise
        if code == _CLAIMED:
            raise _claimed(part.group_id)
        return Joined(part.group_id, token, results) if code == _COMPLETE else None

    def look(self, group_id: str, *, expired: bool) -> Looked:
        """See :meth:`amqtask.results.base.Chords.look`."""
        token = uuid.uuid4().hex
        doing = f"look at chord {group_id}"
        code, *found = self._call(doing, scripts.LOOK, group_id, ".j.t.s.c", int(expired), CLAIM_SECONDS, token)
        if code == _CLAIMED:
            raise _claimed(group_id)
        if code == _COMPLETE:
            return Looked(False, Joined(group_id, token, self._nested(group_id) or tuple(found[0])))
        if code == _EXPIRED:
            return Looked(False, Joined(group_id, token, ()), found[0])
        return Looked(code == _OVER)

    def _count(self, part: Part, token: str) -> Any:
        score = "+inf" if part.group_index is None else part.group_index
        member = (part.task_id, part.result, int(self._ordered), score)
        expires = self._store.settings.result_expires
        kept = int(max(self._expires, expires)) if expires else 0
        doing = f"count in chord {part.group_id}"
        times = (self._expires, kept, CLAIM_SECONDS)
        return self._call(doing, scripts.COMPLETE, part.group_id, ".j.t.s.d..c", *member, *times, token)

    def dispatched(self, joined: Joined) -> None:
        """Forget the chord, unless another one has claimed it meanwhile."""
        self._call(
            f"end chord {joined.group_id}", scripts.FINISH, joined.group_id, ".c.j.t.s.d.g", joined.token, DONE_SECONDS
        )

    def _call(self, doing: str, script: str, group_id: str, suffixes: str, *given: Any) -> Any:
        names = [f".{name}" if name else "" for name in suffixes.split(".")[1:]]
        keys = [self._store.group_key(group_id, name) for name in names]
        with self._store.link().use(doing) as client:
            return client.eval(script, len(keys), *keys, *given)

    def _nested(self, group_id: str) -> tuple[bytes, ...] | None:
        """Results in the shape of a header that holds groups; None when it holds none.

        Celery's client saves the header then, and the results are joined by it.
        """
        document = self._store.fetch_group(group_id)
        saved = None if document is None else read(document)
        try:
            members: list[Any] = saved["result"][1] if isinstance(saved, dict) else []
            if not any(member[1] for member in members):
                return None
            ids = [task_id for member in members for task_id in _leaves(member)]
        except (KeyError, IndexError, TypeError):
            return None
        metas = {task_id: read(found) for task_id, found in self._store.fetch(ids).items()}
        dumps = serializers.get("json").dumps
        try:
            return tuple(dumps([1, member[0][0], *_result(member, metas)]) for member in members)
        except (KeyError, TypeError, ValueError):
            return None  # some keep no results, or unreadable ones; what was counted is all there is


def _claimed(group_id: str) -> ChordClaimed:
    return ChordClaimed(f"another worker has claimed chord {group_id}: look again")


def _leaves(member: Any) -> Iterator[str]:
    """Task ids below a member of a saved group."""
    (task_id, _), members = member
    if not members:
        yield task_id
    for below in members or ():
        yield from _leaves(below)


def _result(member: Any, metas: Mapping[str, Any]) -> tuple[str, Any]:
    """State and result of a member; that of the first failure below a group, or the list of its results."""
    (task_id, _), members = member
    if not members:
        return metas[task_id]["status"], metas[task_id]["result"]
    results = []
    for below in members:
        state, result = _result(below, metas)
        if state != states.SUCCESS:
            return state, result
        results.append(result)
    return states.SUCCESS, results
