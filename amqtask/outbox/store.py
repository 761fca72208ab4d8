"""What a relay, and those who look after it, ask of a table of messages. Owns the protocol, and the relays' lock.

One relay at a time works for an app in a database, for as long as it has some rows in hand; so rows leave in the order
of their ids, and none twice. Those that were refused come after all that were not, however many they are. The lock is
the server's (:data:`TAKE`), or that of a file beside SQLite's. Rows are not locked: on MySQL that would wait for
transactions which have not committed theirs.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from amqtask.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from amqtask.outbox.rows import Row


TAKE: Final = {
    "postgresql": "SELECT pg_try_advisory_xact_lock(('x' || substr(md5(%s), 1, 16))::bit(64)::bigint)",
    "mysql": "SELECT GET_LOCK(CONCAT('amqtask.', MD5(CONCAT(COALESCE(DATABASE(), ''), %s))), 0)",
}
"""Kind of server -> what takes the lock of a name, or gives 0: for one transaction, with MySQL until it is released."""
RELEASE: Final = {"mysql": "SELECT RELEASE_LOCK(CONCAT('amqtask.', MD5(CONCAT(COALESCE(DATABASE(), ''), %s))))"}
"""After the commit."""
LIMIT: Final = {
    "postgresql": "SET LOCAL idle_in_transaction_session_timeout = 120000",
    "mysql": "SET SESSION wait_timeout = 120",
}
"""How long the server waits for a relay that has the lock and says nothing: it may be frozen."""
TOO_FAR: Final = 3600
"""No row is held for so many seconds: a clock was wrong."""
_TOGETHER = 32 * 1024 * 1024
"""Bytes of bodies that a relay has in hand; one row may have more."""


def in_hand(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Ids of the first rows that are read together, from ids and sizes of those that are due: memory has an end."""
    chosen: list[int] = []
    total = 0
    for one, size in sizes:
        total += size
        if chosen and total > _TOGETHER:
            break
        chosen.append(one)
    return chosen


def lock_name(app: str) -> str:
    """What relays of an app lock."""
    return f"amqtask_outbox/{app}"


class Held(NamedTuple):
    """Why a row stays, and until when.

    Attributes:
        due: seconds since 1970 before which it is not tried again.
        error: for people.
    """

    due: int
    error: str


class Settled(NamedTuple):
    """What became of rows; those that are in neither stay as they are.

    Attributes:
        done: ids of rows that are to be deleted.
        held: by id.
    """

    done: Sequence[int]
    held: Mapping[int, Held]


class Store(Protocol):
    """The rows of one app in one database. Not thread-safe; to be closed.

    Every method raises BackendError when the database can't be reached, or has failed.
    """

    @property
    def where(self) -> str:
        """The database, for messages; shows no password."""

    def create(self) -> None:
        """Make the table if it is missing."""

    def work_off(self, now: int, most: int, settle: Callable[[Sequence[Row]], Settled]) -> int | None:
        """Hand over rows that are due, new ones before those that were refused, and write down what became of them.

        Args:
            now: seconds since 1970.
            most: rows.
            settle: called with the rows, in the order of their ids; no other relay gets them meanwhile.

        Returns:
            How many rows there were; None while another relay is at work.
        """

    def read(self, most: int | None = None) -> list[Row]:
        """The first rows, whether they are due or not; None: all."""

    def count(self) -> int:
        """How many rows there are."""

    def retry(self, ids: Collection[int]) -> list[int]:
        """Make rows due at once; those that have failed, if there are no ids. Returns which."""

    def drop(self, ids: Collection[int]) -> list[int]:
        """Delete rows. Returns which."""

    def close(self) -> None:
        """Close the connection."""


@contextmanager
def alone(database: str) -> Iterator[bool]:
    """Whether this is the only relay of a SQLite database, for the time of the block.

    SQLite has no locks for rows, and one for the database would stop its users while the broker is waited for. Those
    who use it are on one machine, so a file beside it can be locked; the lock goes with its process.

    Raises:
        BackendError: the file can't be written.
    """
    path = f"{os.path.realpath(database)}.relay"  # one file, whatever the database is called
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BackendError(f"the relay's lock {path} can't be opened: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError as error:
            raise BackendError(f"the relay's lock {path} can't be taken: {error.strerror}") from None
        else:
            yield True
    finally:
        os.close(descriptor)
