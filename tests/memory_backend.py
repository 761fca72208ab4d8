"""A result backend in the memory of this process: stores, pushes, and fails on demand. For tests of handles."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from amqtask.config.settings import Settings
from amqtask.errors import BackendError
from amqtask.results.access import ResultAccess
from amqtask.results.base import Chords, Record, Watch
from amqtask.results.failures import to_document
from amqtask.results.future import AsyncResult
from amqtask.results.meta import Meta, dump
from amqtask.wire.ids import new_id
from amqtask.wire.serializers.json import SERIALIZER


class MemoryBackend:
    """The contract of :class:`amqtask.results.base.Backend`; counts what is asked of it.

    Attributes:
        failures: how many calls are to fail from now on.
        fetches, watches: how often these were called.
        waiting: watches that wait right now.
        open_watches: watches that were not closed.
    """

    def __init__(self, *, by_message: bool = False) -> None:
        self.by_message = by_message
        self.chords: Chords | None = None
        self.documents: dict[str, bytes] = {}
        self.final: set[str] = set()
        self.groups: dict[str, bytes] = {}
        self.changed = threading.Condition()
        self.watchers: list[MemoryWatch] = []
        self.failures = self.fetches = self.watches = self.waiting = self.closed = 0

    @property
    def open_watches(self) -> int:
        return len(self.watchers)

    async def waited_on(self) -> None:
        """Return once something waits; nothing can tell the loop of it."""
        while self.waiting == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def check(self) -> None:
        with self.changed:
            if self.failures:
                self.failures -= 1
                raise BackendError("the memory has failed")

    def store(self, records: Sequence[Record]) -> None:
        self.check()
        with self.changed:
            for record in records:
                if record.task_id in self.final and record.state != "SUCCESS":
                    continue
                if record.state == "SUCCESS":
                    self.final.add(record.task_id)
                self.documents[record.task_id] = record.document
                for watcher in self.watchers:
                    watcher.tell(record.task_id, record.document)
            self.changed.notify_all()

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        self.check()
        self.fetches += 1
        return {task_id: self.documents[task_id] for task_id in task_ids if task_id in self.documents}

    async def afetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return await asyncio.to_thread(self.fetch, task_ids)

    def watch(self, task_ids: Collection[str]) -> Watch:
        self.watches += 1
        return MemoryWatch(self, task_ids)

    def expect(self, task_ids: Collection[str]) -> None:
        pass

    def forget(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self.documents.pop(task_id, None)

    def save_group(self, group_id: str, document: bytes) -> None:
        self.groups[group_id] = document

    def fetch_group(self, group_id: str) -> bytes | None:
        return self.groups.get(group_id)

    def forget_group(self, group_id: str) -> None:
        self.groups.pop(group_id, None)

    def clean_up(self) -> int:
        return 0

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


class MemoryWatch:
    def __init__(self, backend: MemoryBackend, task_ids: Collection[str]) -> None:
        self.backend, self.ids, self.begun = backend, set(task_ids), False
        with backend.changed:
            self.news = {key: backend.documents[key] for key in self.ids if key in backend.documents}
            self.wake: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
            backend.watchers.append(self)

    def tell(self, task_id: str, document: bytes) -> None:
        if task_id in self.ids:
            self.news[task_id] = document
            for loop, event in self.wake:
                loop.call_soon_threadsafe(event.set)

    def wait(self, timeout: float | None) -> Mapping[str, bytes]:
        self.backend.check()
        self.begun = True
        with self.backend.changed:
            self.backend.waiting += 1
            try:
                self.backend.changed.wait_for(lambda: self.news or self.backend.failures, timeout)
            finally:
                self.backend.waiting -= 1
            if not self.news:
                self.backend.check()
            found, self.news = self.news, {}
            return found

    async def await_(self, timeout: float | None) -> Mapping[str, bytes]:  # noqa: ASYNC109 -- the contract's
        self.backend.check()
        self.begun = True
        event = asyncio.Event()
        with self.backend.changed:
            if self.news:
                event.set()
            self.wake.append((asyncio.get_running_loop(), event))
        self.backend.waiting += 1
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except TimeoutError:
            pass
        finally:
            self.backend.waiting -= 1
        with self.backend.changed:
            self.wake.clear()
            found, self.news = self.news, {}
            return found

    def close(self) -> None:
        with self.backend.changed:
            if self in self.backend.watchers:
                self.backend.watchers.remove(self)


class Store:
    """A backend, the results of an app that has it, and the workers that store into it."""

    def __init__(self, **settings: object) -> None:
        self.backend = MemoryBackend(by_message=bool(settings.pop("by_message", False)))
        made = Settings(**{"result_backend": "memory://", **settings})  # type: ignore[arg-type]
        self.results = ResultAccess(made, lambda _url, _settings: self.backend)

    def handle(self, task_id: str | None = None, **options: Any) -> AsyncResult[Any]:
        """Of a task that is stored here, or will be."""
        return AsyncResult(task_id or new_id(), "shop.add", results=self.results, **options)

    def put(self, task_id: str, result: object = None, state: str = "SUCCESS", **facts: object) -> None:
        """Store what a worker would."""
        self.put_all([(task_id, result, state)], **facts)

    def put_all(self, outcomes: Sequence[tuple[str, object, str]], **facts: object) -> None:
        records = []
        for task_id, result, state in outcomes:
            stored = to_document(result) if isinstance(result, BaseException) else result
            document, content_type, encoding = dump(
                Meta(task_id, state, stored, **facts),  # type: ignore[arg-type]
                SERIALIZER,
            )
            records.append(Record(task_id, state, document, content_type, encoding))
        self.backend.store(records)


def in_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Run in another thread; returns a function that waits for the end and gives the value, or raises."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def end() -> Any:
        thread.join(60)
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    return end
