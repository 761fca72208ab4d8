"""``redis://``, ``rediss://`` and ``sentinel://``: Celery's keys and channels, so Celery's clients read what is stored.

A document is the value of ``celery-task-meta-<task id>`` and is published under the same name in one transaction. Who
waits has subscribed before it looks; see :mod:`amqtask.results.backends._redis_watch`.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.results import states
from amqtask.results.backends import _redis_scripts as scripts
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import GROUP_PREFIX, TASK_PREFIX, newest, pieces, state_of
from amqtask.results.backends._redis_chords import RedisChords
from amqtask.results.backends._redis_client import Link, connector
from amqtask.results.backends._redis_hub import Hub
from amqtask.results.backends._redis_watch import RedisWatch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record, Watch

_BATCH = 200
"""Documents per transaction, and keys per question."""


class RedisBackend(PolledBackend):
    """Documents in Redis. Thread-safe.

    Args:
        url: ``redis://:password@host:6379/0``, ``rediss://...``, or ``sentinel://host;sentinel://host`` with the
            transport option ``master_name``.
        settings: of the app. Transport options: ``global_keyprefix``, ``result_chord_ordered``, ``master_name``,
            ``min_other_sentinels``, ``sentinel_kwargs``; all are Celery's.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        self._prefix = _global_prefix(self.transport_options.get("global_keyprefix"))
        most = settings.result_backend_max_connections
        self._links = PerProcess(partial(Link, connector(url, settings), self.where, most))
        self._hubs = PerProcess(lambda: Hub(self._links.get()))
        self.chords = RedisChords(self, ordered=bool(self.transport_options.get("result_chord_ordered", True)))

    def store(self, records: Sequence[Record]) -> None:
        """Store and publish, in transactions of some documents each."""
        for some in pieces(newest(records), _BATCH):
            self._store(some)

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Fetch many at once."""
        found: dict[str, bytes] = {}
        for some in pieces(task_ids, _BATCH):
            with self.link().use("fetch results") as client:
                values: Any = client.mget([self.key(task_id) for task_id in some])
            found.update((task_id, value) for task_id, value in zip(some, values, strict=True) if value is not None)
        return found

    def watch(self, task_ids: Collection[str]) -> Watch:
        """Subscribe."""
        return RedisWatch(self, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Remove documents."""
        for some in pieces(task_ids, _BATCH):
            with self.link().use("forget results") as client:
                client.delete(*[self.key(task_id) for task_id in some])

    def save_group(self, group_id: str, document: bytes) -> None:
        """Save under the group's key."""
        with self.link().use("save a group") as client:
            client.set(self.group_key(group_id), document, ex=self._seconds() or None)

    def fetch_group(self, group_id: str) -> bytes | None:
        """What is under the group's key."""
        with self.link().use("fetch a group") as client:
            found: Any = client.get(self.group_key(group_id))
            return None if found is None else bytes(found)

    def forget_group(self, group_id: str) -> None:
        """Remove the group's key."""
        with self.link().use("forget a group") as client:
            client.delete(self.group_key(group_id))

    def close(self) -> None:
        """End the thread for news, close all connections."""
        hub, link = self._hubs.take(), self._links.take()
        if hub is not None:
            hub.close()
        if link is not None:
            link.close()
        self.end_threads()

    def link(self) -> Link:
        """This process's clients."""
        return self._links.get()

    def hub(self) -> Hub:
        """This process's news."""
        return self._hubs.get()

    def key(self, task_id: str) -> bytes:
        """Key of a document, and its channel."""
        return f"{self._prefix}{TASK_PREFIX}{task_id}".encode()

    def group_key(self, group_id: str, suffix: str = "") -> bytes:
        """Key of what is kept about a group."""
        return f"{self._prefix}{GROUP_PREFIX}{group_id}{suffix}".encode()

    def _seconds(self) -> int:
        """To live; 0: for ever."""
        expires = self.settings.result_expires
        return max(int(expires), 1) if expires else 0

    def _store(self, records: list[Record]) -> None:
        seconds = self._seconds()
        with self.link().use("store results") as client, client.pipeline() as pipe:
            for record in records:
                key = self.key(record.task_id)
                if record.state != states.SUCCESS:
                    pipe.eval(scripts.STORE, 1, key, record.document, seconds, "")
                else:
                    pipe.set(key, record.document, ex=seconds or None)
                    pipe.publish(key, record.document)
            answers = [answer for answer in pipe.execute() if isinstance(answer, bytes)]
        if answers:  # some document there is compressed
            for record in records:
                self._store_over_unreadable(record)

    def _store_over_unreadable(self, record: Record) -> None:
        """Read here what the script could not read, and store unless it is a success or has changed meanwhile."""
        while record.state != states.SUCCESS:
            there = self.fetch([record.task_id]).get(record.task_id, b"")
            if state_of(there) == states.SUCCESS:
                return
            digest = hashlib.sha1(there, usedforsecurity=False).hexdigest()
            with self.link().use("store results") as client:
                answer = client.eval(
                    scripts.STORE, 1, self.key(record.task_id), record.document, self._seconds(), digest
                )
            if not isinstance(answer, bytes):
                return


def _global_prefix(given: object) -> str:
    """Celery's rule: an underscore follows a prefix that does not end with a separator itself."""
    text = str(given) if given else ""
    return text if not text or text[-1] in ":_-." else f"{text}_"


BACKEND = RedisBackend
