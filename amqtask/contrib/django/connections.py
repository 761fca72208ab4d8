"""Database connections of processes that run tasks: closed as Django closes them around a request. Owns when.

Django keeps connections per thread. A task on a thread finds none that is stale and leaves none that is too old
(CONN_MAX_AGE). A greenlet ends with its task, and an ``async def`` task has a thread to itself for the time it runs, as
a request has under ASGI: theirs are closed. No connection goes through a fork. Queries that DEBUG collects are dropped
after each task, and when the scheduler sends one.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.conf import settings
from django.core.cache import close_caches
from django.db import close_old_connections, connections, reset_queries

from amqtask.schedules.records import HEADER
from amqtask.signals import beat_init, before_task_publish, import_modules, worker_init, worker_process_init
from amqtask.tasks.middleware import Middleware

if TYPE_CHECKING:
    from amqtask.tasks.context import Context

logger = logging.getLogger(__name__)

_FLEETING = threading.local.__module__.startswith("gevent")
"""What stands for threads here are greenlets, each of which runs one task."""


class Connections(Middleware):
    """Around every task that comes by a message; a task that runs in place is part of what calls it."""

    def around_task(self, request: Context) -> _Around | None:  # noqa: D102 -- as Middleware says
        return None if request.is_eager else _Around()


class _Around(AbstractContextManager[None], AbstractAsyncContextManager[None]):
    def __enter__(self) -> None:
        _tidy()

    def __exit__(self, *_: object) -> None:
        _close_all() if _FLEETING else _tidy()
        close_caches()

    async def __aenter__(self) -> None:
        self._thread = _OwnThread()
        await self._thread.__aenter__()  # type: ignore[no-untyped-call]

    async def __aexit__(self, *raised: object) -> None:
        await self._thread.__aexit__(*raised)
        close_caches()


class _OwnThread(ThreadSensitiveContext):
    """Of one coroutine, for what it has done by ``sync_to_async``; leaving waits for nothing, as the loop is shared."""

    async def __aexit__(self, *raised: object) -> None:
        executor = SyncToAsync.context_to_thread_executor.pop(self, None)
        if executor is not None:
            executor.submit(_close_all)
            executor.shutdown(wait=False)
        await super().__aexit__(*raised)  # type: ignore[no-untyped-call]


def connect() -> None:
    """Have workers and schedulers of this process care for connections, those of apps of any class."""
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver)


def _care(sender: Any, **_: Any) -> None:
    """Tasks of an app are about to be imported."""
    if not any(isinstance(one, Connections) for one in sender.middleware):
        sender.middleware.add(Connections())


def _before_pool(sender: Any, **_: Any) -> None:
    from amqtask.worker.pools.base import pools  # noqa: PLC0415 -- web servers do without

    _warn_of_debug("a worker")
    if pools.get(sender.options.pool).forks:
        _close_all()
        for connection in connections.all(initialized_only=True):
            if getattr(connection, "pool", None) is not None:  # of psycopg: its threads don't live on in a child
                connection.close_pool()
    _Inherited.process = os.getpid()


class _Inherited:
    """Connections that the parent has opened all the same; kept, for closing one would end it at the parent too."""

    process: int | None = None
    kept: list[Any] = []  # noqa: RUF012 -- one per process


def _in_child(**_: Any) -> None:
    if _Inherited.process in (None, os.getpid()):
        return
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            _Inherited.kept.append(connection.connection)
            connection.connection = None


def _beat_begins(**_: Any) -> None:
    _warn_of_debug("the scheduler")
    before_task_publish.connect(_beat_sends)  # not before: senders are quicker without a receiver


def _beat_sends(headers: Any, **_: Any) -> None:
    if HEADER in headers:
        _tidy()


_RECEIVERS = (
    (import_modules, _care),
    (worker_init, _before_pool),
    (worker_process_init, _in_child),
    (beat_init, _beat_begins),
)


def _warn_of_debug(who: str) -> None:
    if settings.DEBUG:
        logger.warning(
            "DEBUG is on in Django's settings: each query is kept in memory, in %s until a task has ended", who
        )


def _tidy() -> None:
    try:
        close_old_connections()
        reset_queries()
    except Exception:  # a database that has gone; the task has ended, or will see for itself
        logger.warning("a database connection could not be closed", exc_info=True)


def _close_all() -> None:
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Exception:
            logger.warning("the connection to database %s could not be closed", connection.alias, exc_info=True)
    reset_queries()
