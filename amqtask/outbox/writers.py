"""Rows into the caller's own transaction. Owns the choice by the kind of connection that was given.

Nothing is committed here, and nothing connects: the caller's connection is used as it is, in the caller's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from amqtask.outbox.rows import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS = ("app", "exchange", "routing_key", "properties", "body")
_ASYNC = "sqlalchemy.ext.asyncio"


class Writer(Protocol):
    """Writes rows by one connection.

    Attributes:
        awaited: what :meth:`write` returns has to be awaited.
    """

    awaited: bool

    def write(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Insert rows, in order; raises what the database's driver does."""


class SqliteWriter:
    """Of a ``sqlite3.Connection``."""

    awaited = False

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See :meth:`Writer.write`."""
        marks = ", ".join("?" for _ in _COLUMNS)
        statement = f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608 -- names of ours
        self._connection.executemany(statement, [[row[name] for name in _COLUMNS] for row in rows])


class SqlalchemyWriter:
    """Of SQLAlchemy's ``Session``, ``scoped_session``, ``Connection``, and what is awaited of these."""

    def __init__(self, connection: Any, *, awaited: bool) -> None:
        self._connection, self.awaited = connection, awaited

    def write(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """See :meth:`Writer.write`."""
        from amqtask.outbox.table import rows as table  # noqa: PLC0415 -- who has a session has loaded SQLAlchemy

        return self._connection.execute(table.insert(), list(map(dict, rows)))


def writer_for(connection: object) -> Writer:
    """What writes by this connection.

    Raises:
        TypeError: it is of no kind that is known.
    """
    modules = {kind.__module__ for kind in type(connection).__mro__}
    if "sqlite3" in modules:
        return SqliteWriter(connection)
    if hasattr(connection, "execute") and any(name.partition(".")[0] == "sqlalchemy" for name in modules):
        return SqlalchemyWriter(connection, awaited=any(name.startswith(_ASYNC) for name in modules))
    raise TypeError(
        "app.outbox() takes a Session or Connection of SQLAlchemy or a sqlite3.Connection, and in an app of "
        f"amqtask.contrib.django the name of a database; not {connection!r:.100}"
    )
