"""``db+postgresql://``, ``db+mysql://``, ``db+sqlite:///file`` and what else SQLAlchemy speaks. Owns the questions.

The tables ``amqtask_results`` and ``amqtask_groups`` are made when they are missing. An operation that meets another
one's insert or lock is tried again; see :mod:`amqtask.results.backends._sql` for the statements.
"""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from amqtask import clock, sql
from amqtask.errors import BackendError, ResultTooLarge
from amqtask.results.backends import _sql
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.backends._process import PerProcess
from amqtask.results.backends._records import digest, newest, pieces
from amqtask.results.trimming import clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.base import Record

    T = TypeVar("T")

_BATCH = 500
"""Keys per question, and rows per transaction of a clean-up."""
_ATTEMPTS = 5
_LONGEST_ID, _LONGEST_STATE = 255, 64
_SETTING = "result_backend"


class DatabaseBackend(PolledBackend):
    """Documents in a table. Thread-safe.

    Args:
        url: ``db+`` and a URL of SQLAlchemy's.
        settings: of the app.
    """

    needs_clean_up = True

    def __init__(self, url: str, settings: Settings) -> None:
        super().__init__(url, settings)
        self._engines = PerProcess(partial(_connected, url, settings.result_backend_max_connections))
        sql.engine_for(url, 1, _SETTING).dispose()  # errors now, not when it is used

    def store(self, records: Sequence[Record]) -> None:
        """Store in one transaction per some hundred rows."""
        now, expires = clock.wall(), self.expires_at()
        rows = [
            {
                "task_id": _key(record.task_id),
                "state": clip(record.state, _LONGEST_STATE),
                "document": record.document,
                "content_type": record.content_type,
                "content_encoding": record.content_encoding,
                "stored_at": now,
                "expires_at": expires,
            }
            for record in newest(records)
        ]
        for some in pieces(rows, _BATCH):
            try:
                self._do("store results", partial(_sql.upsert, rows=some))
            except BackendError:  # MySQL says good-bye to whoever sends too much
                self._check_size(max(len(record.document) for record in records))
                raise

    def fetch(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Fetch what has not expired."""
        found: dict[str, bytes] = {}
        names = {_key(task_id): task_id for task_id in task_ids}
        for some in pieces(names, _BATCH):
            found |= self._do("fetch results", partial(self._select, _sql.results, some))
        return {names[key]: document for key, document in found.items()}

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete rows."""
        for some in pieces(sorted(map(_key, task_ids)), _BATCH):
            self._do("forget results", partial(_sql.delete, table=_sql.results, names=some))

    def save_group(self, group_id: str, document: bytes) -> None:
        """Insert or replace a row."""
        row = {"group_id": _key(group_id), "document": document, "expires_at": self.expires_at()}
        self._do("save a group", partial(_sql.put_group, row=row))

    def fetch_group(self, group_id: str) -> bytes | None:
        """The row's document."""
        key = _key(group_id)
        return self._do("fetch a group", partial(self._select, _sql.groups, [key])).get(key)

    def forget_group(self, group_id: str) -> None:
        """Delete the row."""
        self._do("forget a group", partial(_sql.delete, table=_sql.groups, names=[_key(group_id)]))

    def clean_up(self) -> int:
        """Delete what has expired, in short transactions."""
        removed = 0
        for table in (_sql.results, _sql.groups):
            some = _BATCH
            while some == _BATCH:
                expired = partial(_sql.delete_expired, table=table, now=clock.wall(), most=_BATCH)
                some = self._do("clean up", expired)
                removed += some
        return removed

    def close(self) -> None:
        """Close the connections."""
        shared = self._engines.take()
        if shared is not None:
            shared.close()
        self.end_threads()

    def _check_size(self, size: int) -> None:
        largest = self._do("store results", _sql.largest_document)
        if size > largest:
            raise ResultTooLarge(f"store results: max_allowed_packet is for {largest:.0f} bytes, not {size}")

    def _select(self, table: _sql.Table, names: list[str], connection: _sql.Connection) -> dict[str, bytes]:
        return _sql.select_documents(connection, table, names, clock.wall())

    def _do(self, doing: str, work: Callable[[_sql.Connection], T]) -> T:
        """Run ``work`` in a transaction, again after a deadlock or when the tables are gone."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                with self._engines.get().use() as engine, engine.begin() as connection:
                    return work(connection)
            except sql.ERRORS as error:
                if left and sql.is_missing_table(error):
                    self.close()  # and the next connection makes them
                elif not (left and sql.is_conflict(error)):
                    raise self.failed(doing, getattr(error, "orig", None) or error) from error
        raise AssertionError  # the last attempt returns or raises


class _Shared:
    """An engine that closes its connections when it is closed and nobody uses one any more."""

    def __init__(self, engine: _sql.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[_sql.Engine]:
        """The engine, for one operation."""
        with self._lock:
            self._users += 1
        try:
            yield self._engine
        finally:
            with self._lock:
                self._users -= 1
            self._dispose()

    def close(self) -> None:
        """Close the connections, those in use by the end of their operation."""
        self._closed = True
        self._dispose()

    def _dispose(self) -> None:
        with self._lock:
            if self._closed and not self._users:
                self._engine.dispose()


def _key(name: str) -> str:
    """An id as the tables have it; a digest stands for one that they do not take."""
    return name if len(name) <= _LONGEST_ID and "\0" not in name else f"sha256:{digest(name)}"


def _connected(url: str, most: int) -> _Shared:
    """An engine whose tables are there."""
    engine = sql.engine_for(url, most, _SETTING)
    try:
        sql.make_tables(engine, _sql.metadata)
    except BaseException:
        engine.dispose()
        raise
    return _Shared(engine)


BACKEND = DatabaseBackend
