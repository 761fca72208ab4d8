"""The table of messages by SQLAlchemy (setting ``outbox_url``). Owns its columns and the statements of a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from amqtask.broker.url import mask
from amqtask.errors import BackendError, ConfigError
from amqtask.outbox.rows import TABLE, Row
from amqtask.outbox.store import LIMIT, RELEASE, TAKE, TOO_FAR, alone, in_hand, lock_name
from amqtask.sql import ERRORS, Id, engine_for, is_missing_table, make_tables, mysql, sa

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from amqtask.outbox.store import Settled

    T = TypeVar("T")
    Choices = tuple[Any, ...]
    """Selects of ids and sizes; the first that finds rows counts."""

_SETTING = "outbox_url"

metadata = sa.MetaData()
rows = sa.Table(
    TABLE,
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("app", Id, nullable=False),
    sa.Column("exchange", Id, nullable=False),
    sa.Column("routing_key", Id, nullable=False),
    sa.Column("properties", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
    sa.Column("body", sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"), nullable=False),
    sa.Column("due", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", sa.Text),
    sa.Index(f"{TABLE}_due", "app", "due", "id"),
    sqlite_autoincrement=True,  # or ids, which are the order, would be used again
)
_row = [rows.c[name] for name in Row._fields]


class SqlStore:
    """Implements :class:`amqtask.outbox.store.Store` by a URL of SQLAlchemy's.

    Args:
        url: setting ``outbox_url``; nothing is connected yet.
        app: name of the application.

    Raises:
        ConfigError: the URL, its dialect or its driver won't do.
    """

    def __init__(self, url: str, app: str) -> None:
        if not url.startswith("db+"):
            raise ConfigError(f"{_SETTING} {mask(url)!r}: write db+ before a URL of SQLAlchemy's")
        self.where = mask(url)
        self._app = app
        self._engine = engine_for(url, 1, _SETTING, wal=False)
        kind = self._engine.dialect.name
        if kind == "sqlite":
            sa.event.listen(self._engine, "connect", _wait_briefly)
        self._kind = "mysql" if kind == "mariadb" else kind
        if self._kind != "sqlite" and self._kind not in TAKE:
            raise ConfigError(f"{_SETTING} {mask(url)!r}: the outbox knows PostgreSQL, MySQL, MariaDB and SQLite only")

    def create(self) -> None:
        """See :meth:`Store.create`."""
        try:
            make_tables(self._engine, metadata)
        except ERRORS as error:
            raise self._failed("make", error) from error

    def work_off(self, now: int, most: int, settle: Callable[[Sequence[Row]], Settled]) -> int | None:
        """See :meth:`Store.work_off`."""
        sizes = sa.select(rows.c.id, sa.func.length(rows.c.body)).where(rows.c.app == self._app)
        sizes = sizes.order_by(rows.c.due, rows.c.id).limit(most)
        chosen = (sizes.where(rows.c.due <= now), sizes.where(rows.c.due > now + TOO_FAR))
        if self._kind == "sqlite":
            return self._work_off_alone(chosen, settle)
        name = (lock_name(self._app),)
        try:
            with self._engine.connect() as connection:
                try:
                    with connection.begin():
                        connection.exec_driver_sql(LIMIT[self._kind])
                        if not connection.exec_driver_sql(TAKE[self._kind], name).scalar():
                            return None
                        if found := _read_some(connection, chosen):
                            _write(connection, settle(found))
                        return len(found)
                finally:
                    if (release := RELEASE.get(self._kind)) is not None and not connection.invalidated:
                        connection.exec_driver_sql(release, name)
        except ERRORS as error:
            raise self._failed("work off", error) from error

    def _work_off_alone(self, chosen: Choices, settle: Callable[[Sequence[Row]], Settled]) -> int | None:
        with alone(str(self._engine.url.database)) as is_alone:
            if not is_alone:
                return None
            found = self._do("read", lambda connection: _read_some(connection, chosen))
            if found:
                settled = settle(found)
                self._do("write to", lambda connection: _write(connection, settled))
            return len(found)

    def read(self, most: int | None = None) -> list[Row]:
        """See :meth:`Store.read`."""
        chosen = sa.select(*_row).where(rows.c.app == self._app).order_by(rows.c.id).limit(most)
        return self._do("read", lambda connection: _read(connection, chosen))

    def count(self) -> int:
        """See :meth:`Store.count`."""
        counted = sa.select(sa.func.count()).select_from(rows).where(rows.c.app == self._app)
        return self._do("read", lambda connection: int(connection.execute(counted).scalar_one()))

    def retry(self, ids: Collection[int]) -> list[int]:
        """See :meth:`Store.retry`."""
        wanted = rows.c.id.in_(ids) if ids else rows.c.error.is_not(None)
        return self._change(wanted, sa.update(rows).values(due=0))

    def drop(self, ids: Collection[int]) -> list[int]:
        """See :meth:`Store.drop`."""
        return self._change(rows.c.id.in_(ids), sa.delete(rows))

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._engine.dispose()

    def _change(self, wanted: Any, change: Any) -> list[int]:
        def work(connection: sa.Connection) -> list[int]:
            chosen = sa.select(rows.c.id).where(rows.c.app == self._app, wanted).order_by(rows.c.id)
            found = [int(one) for one in connection.execute(chosen).scalars()]
            _each(connection, change, [{"one": one} for one in found])
            return found

        return self._do("write to", work)

    def _do(self, doing: str, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except ERRORS as error:
            raise self._failed(doing, error) from error

    def _failed(self, doing: str, error: BaseException) -> BackendError:
        text = " ".join(str(getattr(error, "orig", None) or error).split())[:500]
        remedy = "; 'amqtask outbox create' makes it" if is_missing_table(error) else ""
        return BackendError(f"can't {doing} table {TABLE} of {self.where}: {text}{remedy}")


def _wait_briefly(connection: Any, _: object) -> None:
    """For another writer; nothing can end the relay meanwhile, and it comes again."""
    connection.execute("PRAGMA busy_timeout = 5000")


def _read(connection: sa.Connection, chosen: sa.Select[Any]) -> list[Row]:
    return [Row(*found) for found in connection.execute(chosen)]


def _read_some(connection: sa.Connection, chosen: Choices) -> list[Row]:
    for sizes in chosen:
        if ids := in_hand([(int(one), int(size)) for one, size in connection.execute(sizes)]):
            return _read(connection, sa.select(*_row).where(rows.c.id.in_(ids)).order_by(rows.c.id))
    return []


def _write(connection: sa.Connection, settled: Settled) -> None:
    _each(connection, sa.delete(rows), [{"one": one} for one in settled.done])
    held = [{"one": one, "until": due, "why": error} for one, (due, error) in settled.held.items()]
    values = {"due": sa.bindparam("until"), "error": sa.bindparam("why"), "attempts": rows.c.attempts + 1}
    _each(connection, sa.update(rows).values(values), held)


def _each(connection: sa.Connection, change: Any, said: list[dict[str, Any]]) -> None:
    # not by a list of ids: MySQL reads a small table through for that, and waits for rows that are not committed
    if said:
        connection.execute(change.where(rows.c.id == sa.bindparam("one")), said)
