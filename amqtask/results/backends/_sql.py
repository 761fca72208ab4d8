"""The one place that imports SQLAlchemy: tables, the engine for a URL, and the insert that never replaces a success.

Each dialect has its own way to say "insert, or else replace unless"; one that has none here gets an update, and an
insert when nothing was updated.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from amqtask.broker.url import mask
from amqtask.errors import ConfigError
from amqtask.results import states

if TYPE_CHECKING:
    from collections.abc import Mapping

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql, sqlite
    from sqlalchemy.exc import (
        ArgumentError,
        IntegrityError,
        NoSuchModuleError,
        SQLAlchemyError,
    )
except ImportError:
    raise ConfigError('the database result backend needs SQLAlchemy: pip install "amqtask[sqlalchemy]"') from None

ERRORS = (SQLAlchemyError, OSError)
Engine = sa.Engine
Connection = sa.Connection
Table = sa.Table

WAIT_SECONDS = 60
"""How long a thread waits for a connection that others use, and SQLite for another writer."""

_LOOKS, _LOOK_AGAIN = 5, 0.1
"""How often, and after how many seconds, missing tables are looked for when they can't be made."""

_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "mysql"),
}
"""Scheme without a driver -> scheme with ours, its module, the extra that has it."""

_Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_Id = sa.String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")

_metadata = sa.MetaData()
results = sa.Table(
    "amqtask_results",
    _metadata,
    sa.Column("task_id", _Id, primary_key=True),
    sa.Column("state", sa.String(64), nullable=False),
    sa.Column("document", _Bytes, nullable=False),
    sa.Column("content_type", sa.String(255), nullable=False),
    sa.Column("content_encoding", sa.String(64)),
    sa.Column("stored_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, index=True),
)
"""Times are seconds since the epoch. The document is as other backends have it."""
groups = sa.Table(
    "amqtask_groups",
    _metadata,
    sa.Column("group_id", _Id, primary_key=True),
    sa.Column("document", _Bytes, nullable=False),
    sa.Column("expires_at", sa.Double, index=True),
)


def engine_for(url: str, most: int) -> Engine:
    """An engine; connects when it is used.

    Args:
        url: setting ``result_backend``, with ``db+`` before it.
        most: connections at a time.

    Raises:
        ConfigError: the URL, its dialect or its driver won't do.
    """
    plain = url.removeprefix("db+")
    scheme, _, rest = plain.partition("://")
    if scheme in _DRIVERS:
        scheme, module, extra = _DRIVERS[scheme]
        try:
            importlib.import_module(module)
        except ImportError:
            raise ConfigError(f'result_backend {mask(url)!r} needs {module}: pip install "amqtask[{extra}]"') from None
    try:
        engine = _create(f"{scheme}://{rest}", most)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigError(f"result_backend {mask(url)!r}: {error}") from None
    if engine.dialect.name == "sqlite":
        if engine.url.database in (None, "", ":memory:"):
            raise ConfigError(f"result_backend {url!r}: no other process sees it; write db+sqlite:////path/of/a/file")
        sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _create(url: str, most: int) -> Engine:
    sqlite_options = {"connect_args": {"timeout": WAIT_SECONDS}} if url.startswith("sqlite") else {}
    return sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=most,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        **sqlite_options,
    )


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def make_tables(engine: Engine) -> None:
    """Make the tables that are missing. Where other processes do so too, one of them fails, and looks again."""
    for left in reversed(range(_LOOKS)):
        try:
            _metadata.create_all(engine)
        except SQLAlchemyError as error:
            if not left or not (isinstance(error, IntegrityError) or "exist" in str(getattr(error, "orig", ""))):
                raise
            time.sleep(_LOOK_AGAIN)
        else:
            return


def is_missing_table(error: BaseException) -> bool:
    """Whether this says that a table is not there, in a dialect that we know."""
    text = str(getattr(error, "orig", "")).lower()
    return any(words in text for words in ("no such table", "does not exist", "doesn't exist"))


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction was in the way, and trying again is right."""
    text = str(getattr(error, "orig", "")).lower()
    return isinstance(error, IntegrityError) or any(words in text for words in ("deadlock", "could not serialize"))


def upsert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert rows of ``results``, replacing what is there unless it is a success that has not expired.

    Args:
        connection: in a transaction.
        rows: one per task; what expired before their ``stored_at`` has expired.
    """
    name = connection.dialect.name
    if name in ("postgresql", "sqlite"):
        insert = (postgresql if name == "postgresql" else sqlite).insert(results)
        new = insert.excluded
        others: Mapping[str, Any] = {column.name: new[column.name] for column in results.columns[1:]}
        may = sa.or_(
            results.c.state != states.SUCCESS, new.state == states.SUCCESS, results.c.expires_at <= new.stored_at
        )
        statement: Any = insert.on_conflict_do_update(index_elements=["task_id"], set_=others, where=may)
        connection.execute(statement, rows)
    elif name in ("mysql", "mariadb"):
        connection.execute(_mysql_upsert(), rows)
    else:
        for row in rows:
            _update_or_insert(connection, row)


def _mysql_upsert() -> Any:
    insert = mysql.insert(results)
    # A text, for PyMySQL sends many rows at once only if nothing but the rows is a parameter.
    success: Any = sa.literal_column(f"'{states.SUCCESS}'")
    may = sa.or_(
        results.c.state != success,
        insert.inserted.state == success,
        results.c.expires_at <= insert.inserted.stored_at,
    )
    # Assigned from left to right, each seeing those before: what the condition reads comes last, the state at the end.
    # Only a row that has expired gets another expires_at before its state; by then every other column has its value.
    order = ["document", "content_type", "content_encoding", "stored_at", "state", "expires_at"]
    return insert.on_duplicate_key_update(
        [(name, sa.func.if_(may, insert.inserted[name], results.c[name])) for name in order]
    )


def _update_or_insert(connection: Connection, row: dict[str, Any]) -> None:
    mine = results.c.task_id == row["task_id"]
    change = sa.update(results).where(mine).values({name: value for name, value in row.items() if name != "task_id"})
    if row["state"] != states.SUCCESS:
        change = change.where(sa.or_(results.c.state != states.SUCCESS, results.c.expires_at <= row["stored_at"]))
    if connection.execute(change).rowcount or connection.execute(sa.select(results.c.state).where(mine)).first():
        return
    connection.execute(sa.insert(results), row)


def largest_document(connection: Connection) -> float:
    """Bytes that a document may have, as far as the server says."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return float("inf")
    packet: int = connection.execute(sa.select(sa.literal_column("@@max_allowed_packet"))).scalar_one()
    return (packet - 16384) / 2  # PyMySQL sends bytes as hexadecimal digits


def put_group(connection: Connection, row: dict[str, Any]) -> None:
    """Insert or replace a row of ``groups``."""
    connection.execute(sa.delete(groups).where(groups.c.group_id == row["group_id"]))
    connection.execute(sa.insert(groups), row)


def select_documents(connection: Connection, table: sa.Table, names: list[str], now: float) -> dict[str, bytes]:
    """Documents of one of the tables that have not expired."""
    key = table.c[0]
    wanted = sa.select(key, table.c.document).where(
        key.in_(names), sa.or_(table.c.expires_at.is_(None), table.c.expires_at > now)
    )
    return {name: bytes(document) for name, document in connection.execute(wanted)}


def delete(connection: Connection, table: sa.Table, names: list[str]) -> None:
    """Delete rows by their keys."""
    connection.execute(sa.delete(table).where(table.c[0].in_(names)))


def delete_expired(connection: Connection, table: sa.Table, now: float, most: int) -> int:
    """Delete some rows that have expired; returns how many."""
    key = table.c[0]
    names = [name for (name,) in connection.execute(sa.select(key).where(table.c.expires_at <= now).limit(most))]
    if names:
        connection.execute(sa.delete(table).where(key.in_(sorted(names)), table.c.expires_at <= now))
    return len(names)
