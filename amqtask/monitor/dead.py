"""The dead letters of each queue, for everybody who looks at them and changes them. Owns that one does so at a time.

Looking takes the messages from their queue and puts them back: meanwhile another one would find it empty.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.errors import BrokerUnavailable
from amqtask.events.event import shown
from amqtask.monitor import views
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.app.dead import DeadMessage

LIMIT = 500
"""Dead letters that are read at most."""

FRESH = 60.0
"""Seconds for which an unchanged number of dead letters is taken for the same ones."""

REST = 10
"""Times as long as the last look took, that the next one waits at least."""

_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look has shown; it serves until then, and if their number has changed until the end of the rest."""

    rows: tuple[views.DeadLetter, ...]
    total: int
    fresh_until: float
    rest_until: float


class DeadDesk:
    """Looks at dead letters and moves them. Thread-safe; every method blocks.

    Args:
        app: whose queues.
    """

    def __init__(self, app: Amqtask) -> None:
        self._app = app
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._seen: dict[str, _Seen] = {}

    def look(self, queue: str) -> tuple[tuple[views.DeadLetter, ...], int]:
        """The oldest ones, and how many there are. Raises BrokerError.

        To look takes all of them from the broker and hides them from others meanwhile: it is not done again while their
        number stays the same, nor all the time when they are many.
        """
        with self._open(queue) as letters:
            total, now = len(letters), clock.monotonic()
            seen = self._seen.get(queue)
            if seen is None or now >= (seen.fresh_until if seen.total == total else seen.rest_until):
                rows = tuple([self._shown(message) for message in letters.read(LIMIT)])
                ended = clock.monotonic()
                seen = self._seen[queue] = _Seen(rows, total, ended + FRESH, ended + REST * (ended - now))
            return seen.rows, total

    def retry(self, queue: str, ids: Sequence[str]) -> list[str]:
        """See :meth:`amqtask.app.dead.DeadLetters.retry`."""
        with self._open(queue) as letters:
            self._seen.pop(queue, None)
            return letters.retry(frozenset(ids))

    def drop(self, queue: str, ids: Sequence[str]) -> list[str]:
        """See :meth:`amqtask.app.dead.DeadLetters.drop`."""
        with self._open(queue) as letters:
            self._seen.pop(queue, None)
            return letters.drop(frozenset(ids))

    @contextmanager
    def _open(self, queue: str) -> Iterator[DeadLetters]:
        self._app.topology.queue(queue)
        lock = self._locks[queue]
        if not lock.acquire(timeout=_WAIT):
            raise BrokerUnavailable(f"somebody else has been looking at the dead letters of {queue} for {_WAIT:g} s")
        try:
            with Admin(self._app.broker_urls, replace(self._app.connection_options, name="amqtask monitor")) as admin:
                yield DeadLetters(admin, queue, Signer(self._app.settings))
        finally:
            lock.release()

    def _shown(self, message: DeadMessage) -> views.DeadLetter:
        settings = self._app.settings
        call = message.call(settings.accept_content, settings.broker_max_message_size)
        unreadable = call if isinstance(call, str) else None
        args, kwargs = (None, None) if isinstance(call, str) else (shown(call[0]), shown(call[1]))
        return views.DeadLetter(
            id=message.id,
            task=message.task,
            reason=message.reason,
            exception=message.exception,
            message=message.message,
            traceback=message.traceback,
            worker=message.worker,
            attempts=message.attempts,
            first_time=message.first_time,
            last_time=message.last_time,
            args=args,
            kwargs=kwargs,
            unreadable=unreadable,
            headers={str(key): _header(value) for key, value in message.headers.items()},
        )


def _header(value: object) -> str:
    return shown(value) if not isinstance(value, str) else value
