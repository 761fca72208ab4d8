"""The tables of results: their statements, and the insert that never replaces a success.

Each dialect has its own way to say "insert, or else replace unless"; one that has none here gets an update, and an
insert when nothing was updated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.results import states
from amqtask.sql import Id, mysql, postgresql, sa, sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping

Engine = sa.Engine
Connection = sa.Connection
Table = sa.Table

_Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

metadata = sa.MetaData()
results = sa.Table(
    "amqtask_results",
    metadata,
    sa.Column("task_id", Id, primary_key=True),
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
    metadata,
    sa.Column("group_id", Id, primary_key=True),
    sa.Column("document", _Bytes, nullable=False),
    sa.Column("expires_at", sa.Double, index=True),
)


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
