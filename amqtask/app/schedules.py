"""``app.schedules``: periodic tasks added, changed, paused and run at run time. Owns these calls and the view.

Changes are commands in the scheduler's log; with the setting ``beat_schedule_store`` they are rows of a table, which
the scheduler reads. To run one out of turn is a command with both.
"""

from __future__ import annotations

import logging
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.app.schedule_log import ScheduleLog
from amqtask.config.zones import home_zone
from amqtask.errors import AmqtaskError, BackendError, BrokerError, ConfigError, UnknownEntry
from amqtask.plugins import did_you_mean
from amqtask.schedules.entry import CALL_KEYS, call_of, read_entry, spec_of
from amqtask.schedules.reading import read_schedule
from amqtask.schedules.rows import read_row, row_of
from amqtask.schedules.zones import zone_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from amqtask.app.core import AppCore
    from amqtask.schedules.entry import Entry
    from amqtask.schedules.state import State
    from amqtask.schedules.table import ScheduleTable

logger = logging.getLogger("amqtask.schedules")

_PATIENCE = 30.0
"""Seconds that a database has for each answer."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One periodic task as the scheduler sees it.

    Attributes:
        entry: with all changes.
        last: the last due time that is dealt with, or when it was first seen; None when no scheduler has seen it yet.
        next: when it is due next; None when it is paused, or never will be.
        runs: how often it was sent.
        added: at run time, rather than declared by the program.
        pending: the scheduler has not taken in what its row says, or refuses to; or the one that leads is of a program
            or a version that does not declare it. Its log tells why.
        running_since: when the run was due that the next one must not overlap, and that has not ended; else None.
        run: its task id.
    """

    entry: Entry
    last: datetime | None
    next: datetime | None
    runs: int
    added: bool
    pending: bool = False
    running_since: datetime | None = None
    run: str | None = None

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.entry.name


class Schedules:
    """Periodic tasks at run time. Thread-safe. Each change returns when the broker, or the table, has stored it.

    A call raises BrokerError when the broker does not take it, and BackendError when the table does not, or does not
    answer within half a minute.

    Args:
        app: its settings and connections.
        declared: gives what the program declares, by name.
    """

    def __init__(self, app: AppCore, declared: Callable[[], Mapping[str, Entry]]) -> None:
        self._app, self._declared, self._log = app, declared, ScheduleLog(app)

    def add(self, name: str, task: Any, schedule: Any, **entry: Any) -> None:
        """Add a periodic task, or replace one that was added.

        Args:
            name: of the entry.
            task: a task, its name, or a signature.
            schedule: as in ``beat_schedule``.
            entry: what else an entry may say: ``args``, ``kwargs``, ``queue``, ``catchup``, ``tz``, ...

        Raises:
            ConfigError: it is wrong, or the program declares one of this name.
        """
        if name in self._declared():
            raise ConfigError(
                f"periodic task {name!r} is declared by the program: choose another name, or change or pause that one"
            )
        given = {**call_of(task), "schedule": schedule, **entry}
        checked = spec_of(self._read(name, given))
        with self._table() as table:
            if table is None:
                self._log.command("add", name, checked)
            else:
                said = {key for key, value in given.items() if value not in (None, (), [], {})}
                table.put(name, _make_row(name, _pick(checked, said)))

    def update(self, name: str, **changes: Any) -> None:
        """Change some keys of a periodic task, added or declared; the others stay.

        Args:
            name: of the entry.
            changes: keys of an entry.

        Raises:
            UnknownEntry: there is none of this name, as far as can be known.
            ConfigError: a value is wrong.
        """
        declared = self._declared().get(name)
        with self._table() as table:
            rows = _rows_of(table)
            base = self._spec(name, declared, rows)
            if base is None and changes.get("tz") is not None and changes.get("schedule") is None:
                raise ConfigError(f"periodic task {name!r} is another program's: with 'tz' give its 'schedule' too")
            given = _changed(base or {"task": "x", "schedule": 60}, changes)
            if base is not None and "schedule" in changes and "tz" not in changes:
                given["tz"] = _zone_of(base, declared)
            plain = _pick(spec_of(self._read(name, given)), changes.keys())
            if table is None or (name not in rows and declared is None):
                self._log.command("update", name, plain)
            else:
                table.change(name, _make_row(name, plain), insert=declared is not None)

    def pause(self, name: str) -> None:
        """Send it no more, until :meth:`resume`.

        Raises:
            UnknownEntry: there is none of this name, as far as can be known; so for the others below.
        """
        self._switch(name, "pause")

    def resume(self, name: str) -> None:
        """Send it again; what was missed meanwhile is treated as its ``catchup`` says."""
        self._switch(name, "resume")

    def remove(self, name: str) -> None:
        """Remove one that was added, or the changes to one that is declared."""
        with self._table() as table:
            if table is None or not table.delete(name):
                self._require(name, {**self._declared(), **_rows_of(table)})
                self._log.command("remove", name)

    def run_now(self, name: str) -> None:
        """Send it once, out of turn."""
        with self._table() as table:
            self._require(name, {**self._declared(), **_rows_of(table)})
        self._log.command("run_now", name)

    def list(self) -> list[Scheduled]:
        """Every periodic task with its last and its next due time, by the scheduler that leads.

        When none runs, what its log says is shown; of a table what its rows say by now.

        Raises:
            BrokerError: no connection, or the scheduler does not answer.
        """
        declared, home = self._declared(), home_zone(self._app.settings.timezone)
        log = self._log.look()
        state = log.state
        taken, state.rows = state.rows, self._rows(state, declared)
        now = clock.utcnow()
        found = []
        for name, entry in sorted(state.entries(declared, home).items()):
            mark = state.marks.get(name)
            after = now if mark is None else _counted_from(entry, mark.last_due, now)
            held = mark if mark is not None and mark.is_running(now.timestamp(), entry.overlap_timeout) else None
            found.append(
                Scheduled(
                    entry,
                    None if mark is None else mark.last_due,
                    entry.next(after) if entry.enabled else None,
                    0 if mark is None else mark.runs,
                    name not in declared,
                    state.rows.get(name) != taken.get(name) or (log.led and name not in log.names),
                    None if held is None else held.began,
                    None if held is None else held.running,
                )
            )
        return found

    def release(self, name: str, run: str | None = None) -> bool:
        """Have its run count as ended, so that others may begin: of one whose message was purged or is lost.

        Nothing tells that a message is lost: one that runs goes on, and may overlap with the next.

        Args:
            name: of the entry.
            run: id of the run; another one, which has begun meanwhile, is left alone. None: whichever it is.

        Returns:
            Whether there was a run that held others up.

        Raises:
            UnknownEntry: there is none of this name.
            BrokerError: the scheduler can't be asked, or the broker does not take it.
        """
        found = self._log.look()
        mark = found.state.marks.get(name)
        if mark is None or mark.running is None:
            if name not in (known := {*self._declared(), *found.names}):
                raise _unknown(name, known)
            return False
        if run not in (None, mark.running):
            return False
        self._log.command("release", name, run=mark.running)
        return True

    # -- inside

    def _read(self, name: str, given: Mapping[str, Any]) -> Entry:
        tz = given.get("tz")
        entry = read_entry(name, given, home_zone(self._app.settings.timezone))
        if tz is None:
            return entry
        # what is kept says the zone with each schedule
        return replace(entry, schedules=tuple(read_schedule(one.spec()) for one in entry.schedules), tz=None)

    @contextmanager
    def _table(self) -> Iterator[ScheduleTable | None]:
        url = self._app.settings.beat_schedule_store
        if url is None:
            yield None
            return
        from amqtask.schedules.table import ScheduleTable  # noqa: PLC0415 -- needs SQLAlchemy

        with closing(ScheduleTable(url, self._app.main, _PATIENCE)) as table:
            yield table

    def _switch(self, name: str, what: str) -> None:
        declared = self._declared()
        with self._table() as table:
            if table is None or not table.change(name, {"enabled": what == "resume"}, insert=name in declared):
                self._require(name, {**declared, **_rows_of(table)})
                self._log.command(what, name)

    def _spec(self, name: str, declared: Entry | None, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        """What an entry says by now, as plain values; None if it is another program's."""
        home = home_zone(self._app.settings.timezone)
        if name in rows:
            return spec_of(read_row(name, rows[name], declared, home)[1])
        if declared is not None:
            return spec_of(declared)
        state = self._require(name, rows)
        entry = None if state is None else state.entry(name, {}, home)
        return None if entry is None else spec_of(entry)

    def _require(self, name: str, known: Mapping[str, Any]) -> State | None:
        """Raise UnknownEntry for what is neither here nor in the log; returns what is there, if it was looked for."""
        if name in known:
            return None
        try:
            found = self._log.look()
        except BrokerError as error:  # a frozen scheduler, or no right to ask: commands are kept all the same
            logger.warning("Can't see whether there is a periodic task %r: %s", name, error)
            return None
        if name not in found.names | found.state.dynamic.keys():
            raise _unknown(name, {*known, *found.names})
        return found.state

    def _rows(self, state: State, declared: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
        """What the table says now, which the scheduler may not have read yet."""
        home, found = home_zone(self._app.settings.timezone), {}
        try:
            with self._table() as table:
                if table is None:
                    return state.rows
                rows = table.read()
        except BackendError as error:
            logger.warning("%s; what the scheduler knows is shown", error)
            return state.rows
        for name, row in rows.items():
            try:
                found[name], _ = read_row(name, row, declared.get(name), home)
            except AmqtaskError as error:
                logger.warning("%s", error)
                if name in state.rows:
                    found[name] = state.rows[name]
        return found


def _unknown(name: str, known: Iterable[str]) -> UnknownEntry:
    return UnknownEntry(f"there is no periodic task {name!r}{did_you_mean(name, known)}")


def _rows_of(table: ScheduleTable | None) -> Mapping[str, Mapping[str, Any]]:
    return {} if table is None else table.read()


def _pick(checked: Mapping[str, Any], keys: Any) -> dict[str, Any]:
    """Of an entry as plain values, what these keys have said."""
    among_options = any(key in CALL_KEYS for key in keys)
    plain = {key: checked[key] for key in checked if key in keys or (key == "options" and among_options)}
    if "tz" in keys:
        plain["schedule"] = checked["schedule"]
    for key, usual in (("enabled", True), ("jitter", None), ("deadline", None), ("overlap_timeout", None)):
        if key in keys:
            plain[key] = checked.get(key, usual)
    return plain


def _changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with changes, as :func:`read_entry` wants it."""
    given = {**base, **changes}
    if "options" not in changes:  # what has a key of its own stands there once
        options = base.get("options", {})
        given["options"] = {key: value for key, value in options.items() if key not in CALL_KEYS or key not in changes}
    if changes.get("tz") is not None and "schedule" not in changes:
        specs = base["schedule"]
        given["schedule"] = [{key: value for key, value in one.items() if key != "tz"} for one in specs]
    return given


def _zone_of(base: Mapping[str, Any], declared: Entry | None) -> str | None:
    """Where the clock is by which an entry runs; None of one that has none, or several."""
    zones = {one.get("tz") for one in base["schedule"]}
    if len(zones) == 1 and (only := zones.pop()) is not None:
        return str(only)
    return None if declared is None or declared.tz is None else zone_name(declared.tz)


def _make_row(name: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return row_of(plain)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"periodic task {name!r} can't be kept: {error}") from None


def _counted_from(entry: Entry, last: datetime, now: datetime) -> datetime:
    """Where the next due time is counted from: an interval goes on from its last one, not from this moment."""
    if last < now and any(one.follows for one in entry.schedules):
        return entry.latest(last, now) or last
    return max(last, now)
