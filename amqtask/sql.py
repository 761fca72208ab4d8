"""SQL databases by their URLs: the one place that imports SQLAlchemy. Owns engines, and what errors of servers mean."""

from __future__ import annotations

import importlib
import time
from typing import Any

from amqtask.broker.url import mask
from amqtask.errors import ConfigError

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
    raise ConfigError('a URL with db+ needs SQLAlchemy: pip install "amqtask[sqlalchemy]"') from None

__all__ = [
    "ERRORS", "WAIT_SECONDS", "Id", "IntegrityError", "engine_for", "is_conflict", "is_missing_table", "make_tables",
    "mysql", "postgresql", "sa", "sqlite",
]  # fmt: skip

ERRORS = (SQLAlchemyError, OSError)

WAIT_SECONDS = 60
"""How long a thread waits for a connection that others use, and SQLite for another writer."""

CONNECT_SECONDS, ANSWER_SECONDS, LOCK_SECONDS = 10, 30, 25
"""How long a connection, an answer, and a lock that another client holds may take; what the URL says wins. Locks are
given up by the server itself, or it would keep what a client that has gone had asked for."""

_LOOKS, _LOOK_AGAIN = 5, 0.1
"""How often, and after how many seconds, missing tables are looked for when they can't be made."""

_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "mysql"),
}
"""Scheme without a driver -> scheme with ours, its module, the extra that has it."""

Id = sa.String(255).with_variant(mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
"""Text of a key: capitals differ from small letters with every server."""


def engine_for(url: str, most: int, setting: str, *, wal: bool = True) -> sa.Engine:
    """An engine; connects when it is used.

    Args:
        url: of SQLAlchemy's, with ``db+`` before it.
        most: connections at a time.
        setting: where the URL stands, for messages.
        wal: have SQLite write ahead, which a database keeps; False for one that is the user's.

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
            raise ConfigError(f'{setting} {mask(url)!r} needs {module}: pip install "amqtask[{extra}]"') from None
    try:
        engine = _create(f"{scheme}://{rest}", most)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigError(f"{setting} {mask(url)!r}: {error}") from None
    if engine.dialect.name == "sqlite":
        if engine.url.database in (None, "", ":memory:"):
            raise ConfigError(f"{setting} {url!r}: no other process sees it; write db+sqlite:////path/of/a/file")
        if wal:
            sa.event.listen(engine, "connect", _set_up_sqlite)
    _bound(engine)
    return engine


def _create(url: str, most: int) -> sa.Engine:
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


def _bound(engine: sa.Engine) -> None:
    """Have the drivers that are ours wait for a server only so long."""
    if engine.dialect.driver == "psycopg":
        kind = importlib.import_module("amqtask.sql_psycopg").BoundedConnection

        def connect(_dialect: object, _record: object, args: list[Any], options: dict[str, Any]) -> Any:
            connection = kind.connect(*args, **{"connect_timeout": CONNECT_SECONDS} | options)
            connection.seconds = ANSWER_SECONDS
            return connection

        sa.event.listen(engine, "do_connect", connect)
        if "options" not in engine.url.query:
            sa.event.listen(engine, "begin", _bound_locks)
    elif engine.dialect.driver == "pymysql":
        sa.event.listen(engine, "do_connect", _bound_pymysql)


def _bound_locks(connection: sa.Connection) -> None:
    # for this transaction only: what is set for longer, PgBouncer hands on to other clients, or refuses
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}")


def _bound_pymysql(_dialect: object, _record: object, _args: object, options: dict[str, Any]) -> None:
    locks = f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}, SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}"
    bounds = {"connect_timeout": CONNECT_SECONDS, "read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}
    for name, value in (bounds | {"init_command": locks}).items():
        options.setdefault(name, value)


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def make_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Make the tables that are missing. Where other processes do so too, one of them fails, and looks again."""
    for left in reversed(range(_LOOKS)):
        try:
            metadata.create_all(engine)
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
