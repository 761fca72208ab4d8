"""What backends share whose stores can't tell news: watching by asking again, and coroutines by threads.

Owns the pace of asking: at once, after 2 ms, and then at intervals growing by half to ``poll_interval`` (a transport
option, 0.5 s).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from amqtask import clock
from amqtask.broker.url import mask
from amqtask.errors import BackendError, ConfigError
from amqtask.results import states
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import state_of
from amqtask.results.backends._threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Chords, Record, Watch

    T = TypeVar("T")

FIRST_INTERVAL, GROWTH, LAST_INTERVAL = 0.002, 1.5, 0.5
"""Seconds between two questions, and how they grow."""

_THREADS = 4
"""Threads per process and backend that ask the store for coroutines, and for threads that have only so long."""

_LAST_LOOK = 0.5
"""Seconds that a look may take which was begun when a wait's time was up, or nearly."""


class PolledBackend(ABC):
    """The part of a backend that is the same for every store which has to be asked.

    Args:
        url: setting ``result_backend``.
        settings: of the app.
    """

    by_message = False
    chords: Chords | None = None
    options: ClassVar[frozenset[str]] = frozenset()
    """Names in ``result_backend_transport_options`` beside ``poll_interval``; others are for other backends."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self.transport_options = dict(settings.result_backend_transport_options or {})
        self._slowest = _interval(self.transport_options.get("poll_interval", LAST_INTERVAL))
        self._threads = PerProcess(partial(DaemonThreads, _THREADS, "amqtask-results"))

    @property
    def where(self) -> str:
        """The URL without passwords, for messages."""
        return mask(self.url)

    def failed(self, doing: str, error: BaseException) -> BackendError:
        """The error to raise for one of the store's client."""
        text = " ".join(str(error).split()) or type(error).__name__
        return BackendError(f"{doing}: result backend {self.where}: {text[:500]}")

    def expires_at(self) -> float | None:
        """When what is stored now expires, in seconds since the epoch; None: never."""
        return clock.wall() + self.settings.result_expires if self.settings.result_expires else None

    @abstractmethod
    def store(self, records: Sequence[Record]) -> None:
        """As :meth:`amqtask.results.base.Backend.store`."""

    @abstractmethod
    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """As :meth:`amqtask.results.base.Backend.fetch`."""

    @abstractmethod
    def close(self) -> None:
        """As :meth:`amqtask.results.base.Backend.close`."""

    async def afetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Like :meth:`fetch`, in a thread."""
        return await self.in_thread(lambda: self.fetch(task_ids))

    def fetch_by(self, task_ids: Sequence[str], deadline: float) -> Mapping[str, bytes] | None:
        """:meth:`fetch`, in a thread: as :class:`amqtask.results.base.Timely`."""
        try:
            asking = self._threads.get().submit(self.fetch, task_ids)
        except RuntimeError:  # the interpreter is about to end, and makes no thread any more
            return self.fetch(task_ids)
        done, _ = wait([asking], max(deadline - clock.monotonic(), _LAST_LOOK))
        if not done:
            asking.cancel()
            return None
        return asking.result()

    async def afetch_by(self, task_ids: Sequence[str], deadline: float | None) -> Mapping[str, bytes] | None:
        """:meth:`afetch`; None when the store has not answered by ``deadline`` (monotonic), or soon after it."""
        left = None if deadline is None else max(deadline - clock.monotonic(), _LAST_LOOK)
        try:
            async with asyncio.timeout(left):
                return await self.afetch(task_ids)
        except TimeoutError:
            return None

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run a call in one of the backend's threads: the loop's own may all be busy, or wait for this very one."""
        return await asyncio.get_running_loop().run_in_executor(self._threads.get(), call)

    def watch(self, task_ids: Collection[str]) -> Watch:
        """Begin to ask for these again and again."""
        return PollingWatch(self, task_ids, self._slowest)

    def expect(self, task_ids: Collection[str]) -> None:  # noqa: B027 -- there is nothing to prepare
        """Nothing to prepare."""

    def clean_up(self) -> int:
        """Nothing to do: the store removes what has expired."""
        return 0

    async def aclose(self) -> None:
        """Close, without blocking the running loop."""
        await self.in_thread(self.close)
        self.end_threads()

    def end_threads(self) -> None:
        """Let the threads end that ask for coroutines; never waits for them."""
        threads = self._threads.take()
        if threads is not None:
            threads.shutdown(wait=False)


class PollingWatch:
    """Asks for documents until each has told an end. Not thread-safe.

    Args:
        backend: to ask.
        task_ids: to ask for.
        slowest: seconds between two questions at last.
    """

    def __init__(self, backend: PolledBackend, task_ids: Collection[str], slowest: float) -> None:
        self._backend = backend
        self._open = dict.fromkeys(task_ids)
        self._slowest = slowest
        self._seen: dict[str, bytes] = {}
        self._pause = 0.0
        self.begun = False

    def wait(self, timeout: float | None) -> Mapping[str, bytes]:
        """News, or nothing when ``timeout`` seconds have passed."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            news: Mapping[str, bytes] = {}
            if self._open:  # who gives no time looks once, however long the store takes for that
                ids, limit = list(self._open), deadline if timeout else None
                found = self._backend.fetch(ids) if limit is None else self._backend.fetch_by(ids, limit)
                if found is None:
                    return {}
                news = self._news(found)
            pause = self._next(deadline)
            if news or pause is None:
                return news
            time.sleep(pause)

    async def await_(self, timeout: float | None) -> Mapping[str, bytes]:  # noqa: ASYNC109 -- as wait()
        """Like :meth:`wait`, without blocking the running loop."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            news: Mapping[str, bytes] = {}
            if self._open:  # as in wait()
                found = await self._backend.afetch_by(list(self._open), deadline if timeout else None)
                if found is None:
                    return {}
                news = self._news(found)
            pause = self._next(deadline)
            if news or pause is None:
                return news
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Nothing is held."""
        self._open.clear()

    def _next(self, deadline: float | None) -> float | None:
        """How long to wait before the next question; None when time is up."""
        self._pause = min(max(self._pause * GROWTH, FIRST_INTERVAL), self._slowest)
        if deadline is None:
            return self._pause
        left = deadline - clock.monotonic()
        return None if left <= 0 else min(self._pause, left)

    def _news(self, found: Mapping[str, bytes]) -> dict[str, bytes]:
        self.begun = True
        news = {task_id: document for task_id, document in found.items() if self._seen.get(task_id) != document}
        for task_id, document in news.items():
            if state_of(document) in states.READY_STATES:
                self._open.pop(task_id, None)
                self._seen.pop(task_id, None)
            else:
                self._seen[task_id] = document
        if news:
            self._pause = 0.0
        return news


def _interval(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigError("result_backend_transport_options: poll_interval is a number of seconds above 0")
    return float(value)
