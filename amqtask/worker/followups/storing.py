"""The storing thread: whatever would block the I/O thread and is not user code.

Owns the calls of the result backend, and its troubles: what can't be stored is tried again (:mod:`.backlog`) while the
worker goes on, one log line tells of the first failure and one of the end. Starts when it is first needed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from amqtask import clock, unpatched
from amqtask.errors import BackendError, ResultTooLarge
from amqtask.results.base import ChordClaimed
from amqtask.worker.background import THREADS
from amqtask.worker.followups.backlog import Backlog, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from amqtask.broker.interface import Loop
    from amqtask.results.base import Backend, Record
    from amqtask.worker.background import Background, BackgroundThread

logger = logging.getLogger("amqtask.worker")

T = TypeVar("T")

_LEAVE = 2.0
"""Seconds that a call may take when the worker ends; the thread is left behind then."""


class Storing:
    """The thread's handle. Everything is called, and calls back, on the I/O thread.

    Args:
        loop: of the I/O thread.
        backend: None keeps no results: records count as stored.
        background: makes the thread.
    """

    def __init__(self, loop: Loop, backend: Backend | None, background: Background = THREADS) -> None:
        self._loop, self._backend = loop, backend
        self._backlog = Backlog()
        self._lock = unpatched.new_lock()  # held for moments, and never over a call of the backend
        self._background, self._bell = background, background.bell()
        self._thread: BackgroundThread | None = None
        self._stopped = False

    def store(self, records: Sequence[Record], done: Callable[[Exception | None], None]) -> None:
        """Store records; ``done`` is told None, or that they are too large, however long it takes."""
        if self._backend is None:
            self._loop.call_later(0, lambda: done(None))
        else:
            self._add(Work(records, done=lambda _, error: done(error)))

    def report(self, records: Sequence[Record]) -> None:
        """Store states that nobody waits for, before any later record of the same task."""
        if self._backend is not None:
            self._add(Work(records))

    def run(
        self, call: Callable[[], T], done: Callable[[T | None, Exception | None], None], *, backend: bool = False
    ) -> None:
        """Make a call on the thread.

        Args:
            call: to make.
            done: told its result or its exception.
            backend: it calls the backend, and is repeated while that fails with :class:`BackendError`.
        """
        self._add(Work(call=call, done=done, backend=backend))

    @property
    def waiting(self) -> int:
        """Records and calls that have not begun, or are to be repeated."""
        return len(self._backlog)

    def stop(self) -> None:
        """End the thread after its running call; what still waits is forgotten. Harmless when it never began."""
        with self._lock:
            self._stopped = True
        self._bell.ring()
        if self._thread is not None:
            self._thread.join(_LEAVE)

    def _add(self, work: Work) -> None:
        with self._lock:
            self._backlog.add(work)
        if self._thread is None and not self._stopped:
            self._thread = self._background.start(self._work, "amqtask-results")
        self._bell.ring()

    # ---- on the thread

    def _work(self) -> None:
        while batch := self._next():
            call = batch[0].call
            if call is None:
                self._store(batch)
            else:
                self._call(batch[0], call)

    def _next(self) -> list[Work]:
        """Wait for something that can be done now; nothing at the end."""
        while True:
            with self._lock:
                now = clock.monotonic()
                batch = [] if self._stopped else self._backlog.take(now)
                if batch or self._stopped:
                    return batch
                pause = self._backlog.pause(now)
            self._bell.wait(pause)

    def _store(self, batch: list[Work]) -> None:
        assert self._backend is not None
        try:
            self._backend.store([record for work in batch for record in work.records or ()])
        except ResultTooLarge as error:
            if len(batch) == 1:
                self._finish(batch, None, error)
                return
            with self._lock:
                self._backlog.apart(batch)
        except Exception as error:
            self._trouble(batch, error)
        else:
            self._worked()
            self._finish(batch, None, None)

    def _call(self, work: Work, call: Callable[[], object]) -> None:
        try:
            result = call()
        except ChordClaimed:  # no trouble: nothing else has to wait
            self._worked()
            with self._lock:
                self._backlog.later(work, clock.monotonic())
        except Exception as error:
            if work.backend and isinstance(error, BackendError):
                self._trouble([work], error)
            else:
                self._finish([work], None, error)
        else:
            if work.backend:
                self._worked()
            self._finish([work], result, None)

    def _trouble(self, batch: list[Work], error: Exception) -> None:
        with self._lock:
            pause = self._backlog.failed(batch, clock.monotonic())
            first = self._backlog.failures == 1
        if first:
            kind = type(error).__name__
            text = "The result backend fails (%s: %s); results wait, their messages unacked; next attempt in %.1fs"
            logger.error(text, kind, error, pause)

    def _worked(self) -> None:
        with self._lock:
            ended = self._backlog.succeeded()
        if ended:
            logger.info("The result backend works again, after %d failed attempts", ended)

    def _finish(self, batch: Sequence[Work], result: Any, error: Exception | None) -> None:
        told = [work.done for work in batch if work.done is not None]

        def tell() -> None:
            for done in told:
                done(result, error)

        if told:
            self._loop.call_soon_threadsafe(tell)
