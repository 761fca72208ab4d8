"""The table of periodic tasks (setting ``beat_schedule_store``). Owns its columns and the statements.

It is made when it is missing. Apps may share it: each sees the rows with its own name in the column ``app``.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from amqtask.broker.url import mask
from amqtask.errors import BackendError, ConfigError
from amqtask.schedules.rows import COLUMNS, TABLE
from amqtask.sql import ERRORS, Id, engine_for, is_conflict, make_tables, sa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    T = TypeVar("T")

_SETTING = "beat_schedule_store"
_ATTEMPTS = 5

_metadata = sa.MetaData()
_rows = sa.Table(
    TABLE,
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # tools for tables want a key of one column
    sa.Column("app", Id, nullable=False),
    sa.Column("name", Id, nullable=False),
    sa.Column("task", sa.String(255)),
    sa.Column("schedule", sa.Text),
    sa.Column("tz", sa.String(64)),
    sa.Column("args", sa.Text),
    sa.Column("kwargs", sa.Text),
    sa.Column("options", sa.Text),
    sa.Column("jitter", sa.String(32)),
    sa.Column("catchup", sa.String(16)),
    sa.Column("deadline", sa.String(32)),
    sa.Column("overlap", sa.String(32)),
    sa.Column("overlap_timeout", sa.String(32)),
    sa.Column("enabled", sa.Boolean),
    sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    sa.UniqueConstraint("app", "name", name=f"{TABLE}_app_name"),
)
"""Each column but the keys may be NULL, or missing: a table may be older than this version, or somebody's own.
``changed_at`` is for people; nothing depends on it."""


class ScheduleTable:
    """The rows of one app. Not thread-safe; to be closed.

    Args:
        url: setting ``beat_schedule_store``; nothing is connected yet.
        app: name of the application.
        patience: seconds that each call below may take, whatever the driver does; None: as long as that takes.

    Raises:
        ConfigError: the URL, its dialect or its driver won't do.
    """

    def __init__(self, url: str, app: str, patience: float | None = None) -> None:
        if not url.startswith("db+"):
            raise ConfigError(f"{_SETTING} {mask(url)!r}: write db+ before a URL of SQLAlchemy's")
        self.where = mask(url)
        """The URL without passwords, for messages."""
        self._app, self._patience = app, patience
        self._engine = engine_for(url, 1, _SETTING)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _read_any_text)
        self._is_there = False

    def read(self, *, make: bool = True) -> dict[str, dict[str, Any]]:
        """Every row, by the name of its entry; values are the driver's own, whatever somebody has written.

        Args:
            make: the table, if it is missing.

        Raises:
            BackendError: the database can't be reached, or has failed.
        """
        # without the types of the columns: one value that does not fit must not hide the other rows
        query: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(_rows).where(_rows.c.app == self._app)

        def read(connection: sa.Connection) -> dict[str, dict[str, Any]]:
            result = connection.execute(query)
            keys = list(result.keys())
            name, picked = keys.index("name"), [(key, keys.index(key)) for key in COLUMNS if key in keys]
            return {str(row[name]): {key: row[place] for key, place in picked} for row in result}

        return self._do("read", read, make=make)

    def put(self, name: str, row: Mapping[str, Any]) -> None:
        """Insert a row, or replace the one of this name.

        Raises:
            BackendError: as above.
        """
        self._write(name, row, insert=True, replace=True)

    def change(self, name: str, row: Mapping[str, Any], *, insert: bool) -> bool:
        """Change some columns of a row.

        Args:
            name: of the entry.
            row: the columns.
            insert: make the row if there is none.

        Returns:
            Whether there is such a row now.

        Raises:
            BackendError: as above.
        """
        return self._write(name, row, insert=insert)

    def delete(self, name: str) -> bool:
        """Delete a row; returns whether there was one.

        Raises:
            BackendError: as above.
        """
        gone = sa.delete(_rows).where(*self._is(name))
        return self._do("delete from", lambda connection: bool(connection.execute(gone).rowcount))

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    def _is(self, name: str) -> tuple[Any, ...]:
        return (_rows.c.app == self._app, _rows.c.name == name)

    def _write(self, name: str, row: Mapping[str, Any], *, insert: bool, replace: bool = False) -> bool:
        def write(connection: sa.Connection) -> bool:
            there = {column["name"] for column in sa.inspect(connection).get_columns(TABLE)}
            values: dict[str, Any] = {key: None for key in COLUMNS if replace and key in there}
            values |= {key: value for key, value in row.items() if key in there or value is not None}
            if "changed_at" in there:
                values["changed_at"] = sa.func.now()
            if connection.execute(sa.update(_rows).where(*self._is(name)).values(values)).rowcount:
                return True
            if insert:  # somebody else's insert is a conflict, and then an update
                connection.execute(sa.insert(_rows).inline().values({**values, "app": self._app, "name": name}))
            return insert

        return self._do("write to", write)

    def _do(self, doing: str, work: Callable[[sa.Connection], T], *, make: bool = True) -> T:
        if self._patience is None:
            return self._done(doing, work, make=make)
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(self._done(doing, work, make=make))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=run, name="amqtask-schedules", daemon=True).start()  # no driver can be interrupted
        try:
            return answer.result(self._patience)
        except TimeoutError:
            said = "no answer" if doing == "read" else "no answer, and it may still be done later"
            raise BackendError(f"can't {doing} table {TABLE} of {self.where}: {said} ({self._patience:g} s)") from None

    def _done(self, doing: str, work: Callable[[sa.Connection], T], *, make: bool) -> T:
        for left in reversed(range(_ATTEMPTS)):
            try:
                if make and not self._is_there:
                    make_tables(self._engine, _metadata)
                    self._is_there = True
                with self._engine.begin() as connection:
                    return work(connection)
            except ERRORS as error:
                if not (left and is_conflict(error)):
                    text = " ".join(str(getattr(error, "orig", None) or error).split())[:500]
                    raise BackendError(f"can't {doing} table {TABLE} of {self.where}: {text}") from error
        raise AssertionError  # the last attempt returns or raises


def _read_any_text(connection: Any, _: object) -> None:
    """SQLite stores texts of any encoding, and refuses all rows for one that is not UTF-8."""

    def read(stored: bytes) -> str | bytes:
        try:
            return stored.decode()
        except UnicodeDecodeError:
            return stored

    connection.text_factory = read
