"""A watch on documents in Redis. Owns the order of news: what is stored is fetched only once nothing can be missed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amqtask import clock
from amqtask.results import states
from amqtask.results.backends._records import state_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from amqtask.errors import BackendError
    from amqtask.results.backends._redis_hub import Hub


class Source(Protocol):
    """What a watch needs of its backend."""

    def key(self, task_id: str) -> bytes:
        """Key of a document, and the channel of its news."""

    def hub(self) -> Hub:
        """This process's hub."""

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """The documents there are."""

    def fetch_by(self, task_ids: Sequence[str], deadline: float) -> Mapping[str, bytes] | None:
        """The same; None when they have not come in time."""

    async def afetch_by(self, task_ids: Sequence[str], deadline: float | None) -> Mapping[str, bytes] | None:
        """The same, for coroutines; None when they have not come in time."""


class Told(NamedTuple):
    """What the hub has told.

    Attributes:
        subscribed: how often all channels were subscribed; what is stored is fetched once for each.
        documents: that came since the last look.
    """

    subscribed: int
    documents: dict[str, bytes]


class RedisWatch:
    """Not thread-safe, but for what the hub calls.

    Args:
        source: the backend.
        task_ids: to watch.
    """

    def __init__(self, source: Source, task_ids: Collection[str]) -> None:
        self._source = source
        self._open = {source.key(task_id): task_id for task_id in task_ids}
        self.channels = frozenset(self._open)
        self._changed = threading.Condition()
        self._documents: dict[str, bytes] = {}
        self._seen: dict[str, bytes] = {}
        self._subscribed, self._fetched = 0, -1
        self._error: BackendError | None = None
        self._sleeper: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._hub: Hub | None = None
        self.begun = False
        self._attach()

    def wait(self, timeout: float | None) -> Mapping[str, bytes]:
        """News, or nothing when ``timeout`` seconds have passed."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            self._attach()
            with self._changed:
                left = None if deadline is None else max(deadline - clock.monotonic(), 0)
                in_time = self._changed.wait_for(self._has_news, left)
                told = self._take()
            found: Mapping[str, bytes] | None = {}
            if self._must_fetch(told):
                # a server that has subscribed in time answers; where there was no time for that, it may be silent
                ids, limit = self._unfinished(), None if in_time or not timeout else deadline
                found = self._source.fetch(ids) if limit is None else self._source.fetch_by(ids, limit)
            if found is None:
                return self._news(told._replace(subscribed=self._fetched), {})
            if (news := self._news(told, found)) or not in_time:
                return news

    async def await_(self, timeout: float | None) -> Mapping[str, bytes]:  # noqa: ASYNC109 -- as wait()
        """Like :meth:`wait`, without blocking the running loop."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            self._attach()
            in_time = await self._sleep(deadline)
            with self._changed:
                told = self._take()
            found: Mapping[str, bytes] | None = {}
            if self._must_fetch(told):
                found = await self._source.afetch_by(self._unfinished(), deadline if timeout else None)
            if found is None:
                return self._news(told._replace(subscribed=self._fetched), {})
            if (news := self._news(told, found)) or not in_time:
                return news

    def close(self) -> None:
        """Stop watching."""
        hub, self._hub = self._hub, None
        self._open.clear()
        if hub is not None:
            hub.remove(self)

    # The hub's side.

    def subscribed(self) -> None:
        """What was stored before has to be fetched."""
        with self._changed:
            self._subscribed += 1
            self._error = None
            self._wake()

    def message(self, channel: bytes, document: bytes) -> None:
        """News."""
        task_id = self._open.get(channel)
        if task_id is not None:
            with self._changed:
                self._documents.pop(task_id, None)
                self._documents[task_id] = document
                self._wake()

    def lost(self, error: BackendError) -> None:
        """The next wait raises it."""
        with self._changed:
            self._error = error
            self._wake()

    # Our own.

    def _attach(self) -> None:
        """Join the hub of this process; after a fork, or when the backend was closed, that is another one."""
        if not self._open:
            return
        hub = self._source.hub()
        if hub is not self._hub:
            self._hub = hub
            hub.add(self)

    def _unfinished(self) -> list[str]:
        return list(self._open.values())

    def _has_news(self) -> bool:
        return bool(self._documents or self._error or self._subscribed > max(self._fetched, 0))

    def _take(self) -> Told:
        error, self._error = self._error, None
        if error is not None:
            raise error
        told, self._documents = Told(self._subscribed, self._documents), {}
        return told

    def _must_fetch(self, told: Told) -> bool:
        """Whether it was subscribed since the last time; or time was too short for that, and it was never fetched."""
        return told.subscribed > self._fetched or self._fetched < 0

    def _news(self, told: Told, found: Mapping[str, bytes]) -> dict[str, bytes]:
        """What is worth telling: no document twice, and none of a task that has told its end."""
        self._fetched = told.subscribed
        self.begun = True
        news: dict[str, bytes] = {}
        for task_id, document in (*found.items(), *told.documents.items()):
            key = self._source.key(task_id)
            if key in self._open and self._seen.get(task_id) != document:
                news[task_id] = self._seen[task_id] = document
                if state_of(document) in states.READY_STATES:
                    del self._open[key]
                    del self._seen[task_id]
        return news

    def _wake(self) -> None:
        self._changed.notify_all()
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            loop, future = sleeper
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody sleeps there
                loop.call_soon_threadsafe(_finish, future)

    async def _sleep(self, deadline: float | None) -> bool:
        """Until there is news; false when time is up."""
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self._has_news():
                    return True
                future = loop.create_future()
                self._sleeper = (loop, future)
            left = None if deadline is None else deadline - clock.monotonic()
            if left is not None and left <= 0:
                return False
            await asyncio.wait([future], timeout=left)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
