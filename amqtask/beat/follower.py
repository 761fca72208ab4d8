"""The scheduler and the table of periodic tasks (setting ``beat_schedule_store``): owns the looking.

A thread reads the table while this process leads. What differs from what the log says goes into the log, as commands
do; what is sent, and when, is still decided by the log alone. So the database can be slow, away or wrong: the scheduler
goes on with what it knows.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from amqtask import clock
from amqtask.config.zones import home_zone
from amqtask.errors import AmqtaskError, BackendError
from amqtask.schedules.rows import TABLE, read_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.beat.leader import Leader
    from amqtask.beat.occurrences import Occurrences

logger = logging.getLogger("amqtask.beat")

PATIENCE: Final = 60.0
"""Seconds for which a run that was asked for waits until its row is read."""
_EVERY, _ROWS_PER_SECOND = 1.0, 1000
"""Seconds between two looks at least, and rows. All of them are compared, for who writes them by hand leaves no other
trace; this many a second take less than one per cent of a processor."""
_SLOWEST = PATIENCE / 2
_AGAIN = 5.0
"""Seconds before a database is asked again that has failed."""
_FROZEN = 30.0
"""Seconds without an answer after which that is told."""
_AT_ONCE, _BREATH = 50, 0.005
"""Rows that are read or handed over in one go, and seconds without work in between."""


class Follower:
    """See the module. Without the setting it does nothing.

    Args:
        app: its settings and tasks.
        leader: of this process; called on the scheduler's loop.
        occurrences: tells whether an entry can be sent.
        call: has something done on the scheduler's loop; from any thread.

    Raises:
        ConfigError: the setting's URL, its dialect or its driver won't do.
    """

    def __init__(
        self, app: Amqtask, leader: Leader, occurrences: Occurrences, call: Callable[[Callable[[], None]], object]
    ) -> None:
        self._leader, self._occurrences, self._call = leader, occurrences, call
        self._declared, self._home = leader.declared, home_zone(app.settings.timezone)
        self._known: dict[str, tuple[Mapping[str, Any], dict[str, Any] | None]] = {}
        """Name -> row as it was read last, what it says; None if that can't be."""
        self._failing = False
        self._asked: float | None = None
        """When the database was asked what it has not answered yet."""
        self._lead = 0
        """How often this process has come to lead."""
        self._wake, self._ended = threading.Event(), threading.Event()
        self._table = None
        if app.settings.beat_schedule_store is not None:
            from amqtask.schedules.table import ScheduleTable  # noqa: PLC0415 -- needs SQLAlchemy

            self._table = ScheduleTable(app.settings.beat_schedule_store, app.main)

    def start(self) -> None:
        """Begin; looks while the process leads."""
        if self._table is not None:
            threading.Thread(target=self._run, name="amqtask-beat-table", daemon=True).start()

    def leading(self) -> None:
        """From now on this process leads: look at once, and forget a look that began before."""
        self._lead += 1
        self._wake.set()

    def tick(self) -> None:
        """Tell if the database does not answer; on the scheduler's loop."""
        asked = self._asked
        if asked is not None and self._table is not None and clock.monotonic() - asked > _FROZEN:
            self._fails(f"can't read table {TABLE} of {self._table.where}: no answer for {_FROZEN:g} s")

    def stop(self) -> None:
        """End, without waiting for a database that may not answer."""
        self._ended.set()
        self._wake.set()

    def _run(self) -> None:
        assert self._table is not None
        while not self._ended.is_set():
            pause = self._look() if self._leader.phase == "leading" else _EVERY
            self._wake.wait(pause)
            self._wake.clear()
        self._table.close()

    def _look(self) -> float:
        """Look once; returns seconds until the next look."""
        assert self._table is not None
        lead = self._lead
        self._asked = clock.monotonic()
        try:
            # one that has gone does not mean that nothing is to run
            rows = self._table.read(make=not self._leader.state.rows)
        except Exception as error:  # whatever a driver raises: one can ask again
            logger.debug("Table %s", TABLE, exc_info=True)
            self._fails(str(error) if isinstance(error, BackendError) else f"can't read table {TABLE}: {error!r}")
            return _AGAIN
        finally:
            self._asked = None
        if self._failing:
            logger.warning("Table %s of %s is read again", TABLE, self._table.where)
            self._failing = False
        self._follow(lead, rows)
        return min(max(_EVERY, len(rows) / _ROWS_PER_SECOND), _SLOWEST)

    def _fails(self, why: str) -> None:
        if not self._failing:
            logger.error("%s; going on with the %d periodic tasks that are known", why, len(self._leader.entries))
        self._failing = True

    def _follow(self, lead: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Put what differs into the log, a few rows at a time: in between the scheduler does its work."""
        differing = self._differing(rows)
        changed = gone = 0
        while some := list(islice(differing, _AT_ONCE)):
            put = threading.Event()
            self._call(partial(self._put, lead, some, put.set))
            while not put.wait(_BREATH) and not self._ended.is_set():
                pass
            gone += sum(said is None for _, said in some)
            changed += sum(said is not None for _, said in some)
        if changed or gone:
            logger.info("Table %s: %d rows are new or changed, %d are gone", TABLE, changed, gone)
        self._call(self._leader.table_was_read)

    def _differing(self, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Names, and what their rows say now; None of those that are gone."""
        said = self._leader.state.rows
        yield from [(name, None) for name in list(said) if name not in rows]
        for name in [name for name in self._known if name not in rows]:
            del self._known[name]
        read = 0
        for name, row in rows.items():
            before = self._known.get(name)
            if before is None or before[0] != row:
                self._known[name] = before = (row, self._checked(name, row))
                read += 1
                # thousands of rows must not keep the scheduler from the processor
                if read % _AT_ONCE == 0 and self._ended.wait(_BREATH):
                    return
            if before[1] is not None and before[1] != said.get(name):
                yield name, before[1]

    def _checked(self, name: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            said, entry = read_row(name, row, self._declared.get(name), self._home)
            self._occurrences.check([entry], clock.utcnow())
        except AmqtaskError as error:
            self._refused(name, error)
        except Exception as error:  # whatever somebody has written: the other rows count
            logger.debug("Row %r", name, exc_info=True)
            self._refused(name, error)
        else:
            return said
        return None

    def _refused(self, name: str, error: Exception) -> None:
        place, text = f"table {TABLE}: ", str(error) or type(error).__name__
        if f"periodic task {name!r}" not in text:
            place += f"periodic task {name!r}: "
        logger.error("%s%s; it is left as it was", place, text.removeprefix(place))

    def _put(self, lead: int, some: Sequence[tuple[str, dict[str, Any] | None]], done: Callable[[], None]) -> None:
        """On the scheduler's loop."""
        if lead == self._lead:  # else others led meanwhile, and know better
            self._hand_over(dict(some))
        done()

    def _hand_over(self, some: Mapping[str, dict[str, Any] | None]) -> None:
        """All as one command; one by one, if that can't be sent."""
        try:
            self._leader.rows(some)
        except (AmqtaskError, TypeError, ValueError) as error:
            if len(some) > 1:
                for name, said in some.items():
                    self._hand_over({name: said})
                return
            (name,) = some
            self._refused(name, error)
            if name in self._known:
                self._known[name] = (self._known[name][0], None)
