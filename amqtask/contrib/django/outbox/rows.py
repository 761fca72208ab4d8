"""Rows of the outbox by Django's own connections: written by a view's transaction, worked off by a relay. Owns both.

Needs no SQLAlchemy. Relays of both kinds may work beside one another; see :mod:`amqtask.outbox.store`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.management import call_command
from django.db import Error, connections, transaction
from django.db.models.functions import Length

from amqtask.errors import BackendError, ConfigError
from amqtask.outbox.rows import Row
from amqtask.outbox.store import LIMIT, RELEASE, TAKE, TOO_FAR, alone, in_hand, lock_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from amqtask.outbox.store import Settled


_DELETE = "DELETE FROM amqtask_outbox WHERE id = %s"
_HOLD = "UPDATE amqtask_outbox SET due = %s, error = %s, attempts = attempts + 1 WHERE id = %s"


def _model() -> Any:
    try:
        return apps.get_model("amqtask_outbox", "Message")
    except LookupError:
        raise ConfigError(
            'the outbox needs "amqtask.contrib.django.outbox" in INSTALLED_APPS, and "manage.py migrate"'
        ) from None


class DjangoWriter:
    """Implements :class:`amqtask.outbox.writers.Writer` by a database of the project.

    Args:
        using: its name.

    Raises:
        ConfigError: the app of the outbox is not installed.
    """

    awaited = False

    def __init__(self, using: str) -> None:
        self._using, self._rows = using, _model()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See :meth:`Writer.write`."""
        self._rows.objects.using(self._using).bulk_create([self._rows(**row) for row in rows])


class DjangoStore:
    """Implements :class:`amqtask.outbox.store.Store` by a database of the project.

    Args:
        using: its name.
        app: name of the application.

    Raises:
        ConfigError: there is no such database, or the app of the outbox is not installed.
    """

    def __init__(self, using: str, app: str) -> None:
        if using not in connections:
            raise ConfigError(f"outbox_url {using!r} is neither a db+ URL nor one of Django's DATABASES")
        if (kind := connections[using].vendor) != "sqlite" and kind not in TAKE:
            raise ConfigError(f"database {using!r}: the outbox knows PostgreSQL, MySQL, MariaDB and SQLite only")
        self._using, self._app, self._model = using, app, _model()
        self.where = f"database {using!r}"

    @property
    def _rows(self) -> Any:
        return self._model.objects.using(self._using).filter(app=self._app).order_by("pk")

    def create(self) -> None:
        """See :meth:`Store.create`; as ``manage.py migrate`` of this app."""
        with self._told("make"):
            call_command("migrate", "amqtask_outbox", database=self._using, verbosity=0)

    def work_off(self, now: int, most: int, settle: Callable[[Sequence[Row]], Settled]) -> int | None:
        """See :meth:`Store.work_off`."""
        try:
            return self._work_off(now, most, settle)
        except BackendError:
            self.close()  # it may have gone; Django opens another
            raise

    def _work_off(self, now: int, most: int, settle: Callable[[Sequence[Row]], Settled]) -> int | None:
        connection = connections[self._using]
        rows = self._rows.order_by("due", "pk")
        due = (rows.filter(due__lte=now)[:most], rows.filter(due__gt=now + TOO_FAR)[:most])
        if connection.vendor == "sqlite":
            with alone(str(connection.settings_dict["NAME"])) as is_alone, self._told("work off"):
                if not is_alone:
                    return None
                if found := self._read_some(due):
                    self._write(settle(found))
                return len(found)
        name = [lock_name(self._app)]
        with self._told("work off"), connection.cursor() as cursor:
            try:
                with transaction.atomic(using=self._using):
                    cursor.execute(LIMIT[connection.vendor])
                    cursor.execute(TAKE[connection.vendor], name)
                    if not cursor.fetchone()[0]:
                        return None
                    if found := self._read_some(due):
                        self._write(settle(found))
                    return len(found)
            finally:
                if (release := RELEASE.get(connection.vendor)) is not None and connection.connection is not None:
                    cursor.execute(release, name)

    def read(self, most: int | None = None) -> list[Row]:
        """See :meth:`Store.read`."""
        with self._told("read"):
            return _read(self._rows[:most])

    def count(self) -> int:
        """See :meth:`Store.count`."""
        with self._told("read"):
            return int(self._rows.count())

    def retry(self, ids: Collection[int]) -> list[int]:
        """See :meth:`Store.retry`."""
        wanted = self._rows.filter(pk__in=ids) if ids else self._rows.filter(error__isnull=False)
        return self._change(wanted, "UPDATE amqtask_outbox SET due = 0 WHERE id = %s")

    def drop(self, ids: Collection[int]) -> list[int]:
        """See :meth:`Store.drop`."""
        return self._change(self._rows.filter(pk__in=ids), _DELETE)

    def close(self) -> None:
        """See :meth:`Store.close`."""
        connections[self._using].close()

    def _read_some(self, due: tuple[Any, ...]) -> list[Row]:
        for sizes in due:
            if ids := in_hand(sizes.values_list("pk", Length("body"))):
                return _read(self._rows.filter(pk__in=ids))
        return []

    def _change(self, wanted: Any, change: str) -> list[int]:
        with self._told("write to"), transaction.atomic(using=self._using):
            found = list(wanted.values_list("pk", flat=True))
            self._each(change, [(one,) for one in found])
            return found

    def _write(self, settled: Settled) -> None:
        with transaction.atomic(using=self._using):
            self._each(_DELETE, [(one,) for one in settled.done])
            self._each(_HOLD, [(due, error, one) for one, (due, error) in settled.held.items()])

    def _each(self, change: str, said: Sequence[tuple[Any, ...]]) -> None:
        # not by a list of ids: MySQL reads a small table through for that, and waits for rows that are not committed
        if said:
            with connections[self._using].cursor() as cursor:
                cursor.executemany(change, said)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Error as error:
            text = " ".join(str(error).split())[:500]
            missing = any(words in text.lower() for words in ("no such table", "does not exist", "doesn't exist"))
            remedy = "; 'manage.py migrate' makes it" if missing else ""
            raise BackendError(f"can't {doing} table amqtask_outbox of {self.where}: {text}{remedy}") from error


def _read(rows: Any) -> list[Row]:
    return [Row(*found) for found in rows.values_list(*Row._fields)]
