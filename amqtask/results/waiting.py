"""Waiting for the documents of some tasks: through failures of the backend, until a deadline.

Owns the loop around :class:`~amqtask.results.base.Watch`. A wait costs one watch, however many tasks it is for, and
polls nothing where the backend pushes.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Self

from amqtask import clock
from amqtask.errors import BackendError, ResultTimeout
from amqtask.results.base import Timely

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.results.base import Watch
    from amqtask.results.meta import Meta
    from amqtask.results.source import Results

_log = logging.getLogger(__name__)

_PATIENCE = 30.0
"""Seconds that a backend may fail, one attempt after the other, before a wait that has begun well gives up."""

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts; the last one is repeated."""

_LEAST = 0.001
"""Seconds that are left at least of a wait that was given some: only who gives none has a look take what it takes."""


class Waiting:
    """One wait; a context manager. Not thread-safe.

    Args:
        results: where documents come from.
        ids: of the tasks.
        timeout: seconds; None waits for ever.
    """

    def __init__(self, results: Results, ids: Iterable[str], timeout: float | None) -> None:
        self._results, self._ids, self._timeout = results, set(ids), timeout
        self._deadline = None if timeout is None else clock.monotonic() + max(timeout, 0.0)
        self._least = _LEAST if timeout and timeout > 0 else 0.0
        self._watch: Watch | None = None
        self._begun = False
        self._failing: float | None = None
        self._failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def next(self) -> list[Meta]:
        """What came since the last call, at least one document.

        Raises:
            ResultTimeout: time is up.
            BackendError: the backend can't be reached, at the beginning or for half a minute.
            DecodeError, ContentRefused: a document can't be read.
        """
        while True:
            try:
                documents = self._opened().wait(self._left(self._least))
            except BackendError as error:
                time.sleep(self._pause(error))
                continue
            if metas := self._read(documents):
                return metas

    async def anext(self) -> list[Meta]:
        """Like :meth:`next`, without blocking the running loop."""
        import asyncio  # noqa: PLC0415 -- who is here has loaded it; a client without coroutines need not

        while True:
            try:
                documents = await self._opened().await_(self._left(self._least))
            except BackendError as error:
                await asyncio.sleep(self._pause(error))
                continue
            if metas := self._read(documents):
                return metas

    def fetch(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """What is stored of some tasks now; who gives no time looks however long the backend takes.

        Raises:
            ResultTimeout: the backend has not told in time.
            BackendError: it can't be reached.
        """
        backend = self._results.backend
        if not self._least or self._deadline is None or not isinstance(backend, Timely):
            return backend.fetch(ids)
        found = backend.fetch_by(ids, self._deadline)
        if found is None:
            raise ResultTimeout(self._timeout_text())
        return found

    async def afetch(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Like :meth:`fetch`, without blocking the running loop."""
        import asyncio  # noqa: PLC0415 -- as above

        try:
            async with asyncio.timeout(self._left(self._least) or None):
                return await self._results.backend.afetch(ids)
        except TimeoutError:
            raise ResultTimeout(self._timeout_text()) from None

    def _opened(self) -> Watch:
        if self._watch is None:
            self._watch = self._results.backend.watch(self._ids)
        return self._watch

    def _left(self, least: float = 0.0) -> float | None:
        return None if self._deadline is None else max(self._deadline - clock.monotonic(), least)

    def _read(self, documents: Mapping[str, bytes]) -> list[Meta]:
        """What the documents say; nothing, and no time left, ends the wait."""
        self._begun, self._failing, self._failures = True, None, 0
        if not documents and self._left() == 0.0:
            raise ResultTimeout(self._timeout_text())
        metas = [self._results.loads(document) for document in documents.values()]
        self._ids.difference_update(meta.task_id for meta in metas if meta.final)
        return metas

    def _pause(self, error: BackendError) -> float:
        """Seconds until the next attempt, with a new watch; raises the error instead when it is time to give up."""
        if self._watch is not None and self._watch.begun:  # a wait may go well for long without a document
            self._begun, self._failing = True, None
        self._close()
        now = clock.monotonic()
        if self._failing is None:
            self._failing = now
            if self._begun:
                _log.warning("waiting for results goes on although the backend fails: %s", error)
        left = self._left()
        if not self._begun or now - self._failing > _PATIENCE or left == 0.0:
            raise error
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        return pause if left is None else min(pause, left)

    def _close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _timeout_text(self) -> str:
        first = min(self._ids, default="")
        which = f"task {first}" if len(self._ids) == 1 else f"{len(self._ids)} tasks, such as {first}"
        return f"no result of {which} within {self._timeout:g} s; the work may still go on"
