"""What the scheduler remembers, as a value: when each entry was last due, what was changed at run time.

Owns the rules by which each record of the log changes it, so that whoever reads the log arrives at the same state.
Applying a record again, or one whose effect a snapshot has already, changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.schedules.entry import read_entry, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta, tzinfo

    from amqtask.schedules.entry import Entry
    from amqtask.schedules.records import LogRecord

logger = logging.getLogger("amqtask.beat")

_KEPT = 1000
"""Commands to run something at once that are remembered as done."""
_RUNS_FOR = 86_400.0
"""Seconds after which a run counts as ended although nobody said so, unless its entry says how many."""
_FORGOTTEN = 30 * 86_400.0
"""Seconds after which an entry that nobody declares any more is forgotten: a deployment may be rolled back."""


@dataclass(slots=True)
class Mark:
    """How far one entry has come.

    Attributes:
        last: its last due time that is dealt with, or when it was first seen; seconds since the epoch.
        fingerprint: of the schedule this belongs to.
        running: id of the run that has not ended yet, for entries that must not overlap.
        running_since: when that was due.
        buffered: the due time that waits for its end.
        seen: when it was last among the entries.
        runs: how often it was sent.
        sent_at: when ``running`` was sent, which may be long after it was due.
    """

    last: float
    fingerprint: str = ""
    running: str | None = None
    running_since: float = 0.0
    buffered: float | None = None
    seen: float = 0.0
    runs: int = 0
    sent_at: float = 0.0

    @property
    def last_due(self) -> datetime:
        """``last`` as a moment."""
        return datetime.fromtimestamp(self.last, tz=UTC)

    @property
    def began(self) -> datetime:
        """``running_since`` as a moment."""
        return datetime.fromtimestamp(self.running_since, tz=UTC)

    def is_running(self, now: float, timeout: timedelta | None) -> bool:
        """Whether the run that must not be overlapped counts as going on.

        Args:
            now: seconds since the epoch.
            timeout: the entry's ``overlap_timeout``.
        """
        longest = _RUNS_FOR if timeout is None else timeout.total_seconds()
        return self.running is not None and now - max(self.running_since, self.sent_at) < longest


@dataclass(slots=True)
class State:
    """Everything that a snapshot holds.

    Attributes:
        app: name of the application that wrote it.
        marks: by name of entry.
        dynamic: entries added at run time, as plain values.
        changes: what was changed at run time of entries that the program declares.
        rows: what the rows of a table say; counts before ``dynamic`` and ``changes``.
        paused: names.
        asked: command id -> name of an entry that is to run at once.
        done: ids of such commands, oldest first.
    """

    app: str = ""
    marks: dict[str, Mark] = field(default_factory=dict)
    dynamic: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def apply(self, record: LogRecord) -> None:
        """Take in what has happened; what no scheduler writes is left out, lest it ends every one that reads it."""
        try:
            self._apply(record)
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            logger.error("A record of the scheduler's log is left out (%s): %r", record.kind, error)  # noqa: TRY400

    def _apply(self, record: LogRecord) -> None:
        data = record.data
        if record.kind == "sent":
            self._sent(data)
        elif record.kind == "ended":
            self._ended(str(data.get("entry")), data.get("id"))
        elif record.kind == "skipped":
            self._skipped(data)
        elif record.kind == "command":
            self._command(record.id, str(data.get("do")), str(data.get("name")), data)

    def _ended(self, name: str, run: Any) -> None:
        mark = self.marks.get(name)
        if mark is not None and mark.running == run:
            mark.running = None

    def _skipped(self, data: Mapping[str, Any]) -> None:
        """Up to a time everything of an entry is dealt with; or several have begun, each with its schedule, at one."""
        for name, (began, fingerprint) in data.get("begun", {}).items():
            mark = self.marks.get(name)
            if mark is None:
                self.marks[name] = Mark(_time(began), str(fingerprint), seen=began)
            elif mark.fingerprint == fingerprint:
                mark.last = max(mark.last, _time(began))
            elif _time(began) >= mark.last:
                mark.last, mark.fingerprint = began, str(fingerprint)
        mark = self.marks.get(str(data.get("entry")))
        if mark is not None:
            due = _time(data.get("due", 0.0))
            mark.last = max(mark.last, due)
            if data.get("buffered") and due > mark.running_since:  # else it was sent meanwhile
                mark.buffered = max(mark.buffered or due, due)

    def _sent(self, data: Mapping[str, Any]) -> None:
        name, due, asked = data["entry"], _time(data["due"]), data.get("asked")
        mark = self.marks.setdefault(name, Mark(due))
        if asked is not None:
            if self.asked.pop(asked, None) is None and asked in self.done:
                return
            self.done = [*self.done[-_KEPT:], asked]
        elif due > mark.last or mark.runs == 0:
            mark.last = max(due, mark.last)
        elif mark.buffered != due:
            return
        mark.runs += 1
        if data.get("report"):
            mark.running, mark.running_since, mark.sent_at = data["id"], due, _time(data.get("at", due))
        if mark.buffered is not None and (mark.buffered == due or (data.get("report") and mark.buffered < due)):
            mark.buffered = None

    def _command(self, own: str, what: str, name: str, data: Mapping[str, Any]) -> None:
        spec = data.get("spec")
        if what == "rows":
            for row, said in data["rows"].items():
                self._row(row, said, declared=row in data["declared"])
        elif what == "add" and isinstance(spec, dict):
            self.dynamic[name] = spec
            self.rows.pop(name, None)  # until the table is read again, if there still is one; so for the others
        elif what == "update" and isinstance(spec, dict):
            where = next((one for one in (self.rows, self.dynamic) if name in one), self.changes)
            where[name] = {**where.get(name, {}), **spec}
        elif what == "remove":
            self._remove(name)
        elif what == "release":
            self._ended(name, data.get("run"))
        elif what in ("pause", "resume"):
            if name in self.rows:
                self.rows[name] = {**self.rows[name], "enabled": what == "resume"}
            (self.paused.add if what == "pause" else self.paused.discard)(name)
        elif what == "run_now" and own not in self.done:
            self.asked[own] = name

    def _row(self, name: str, spec: Mapping[str, Any] | None, *, declared: bool) -> None:
        """A row of the table is another one now, or gone."""
        if not isinstance(spec, dict):
            self._remove(name)
            if not declared:
                self.marks.pop(name, None)
            return
        self.rows[name] = spec
        if spec.get("enabled"):
            self.paused.discard(name)

    def _remove(self, name: str) -> None:
        if self.dynamic.pop(name, None) is not None:
            self.marks.pop(name, None)
        self.changes.pop(name, None)
        self.rows.pop(name, None)
        self.paused.discard(name)

    def entries(self, declared: Mapping[str, Entry], zone: tzinfo) -> dict[str, Entry]:
        """What is in force: the declared entries with their changes, and those of run time."""
        found = {name: self.entry(name, declared, zone) for name in (*declared, *self.dynamic, *self.rows)}
        return {name: entry for name, entry in found.items() if entry is not None}

    def entry(self, name: str, declared: Mapping[str, Entry], zone: tzinfo) -> Entry | None:
        """The one of this name that is in force."""
        found = {name: declared[name]} if name in declared else {}
        if name in self.rows:
            base = {**spec_of(declared[name]), **self.changes.get(name, {})} if name in declared else {}
            self._put(found, name, {**base, **self.rows[name]}, zone)
        elif name in declared:
            if name in self.dynamic:
                logger.error("Periodic task %r is declared by now; the one added at run time is left out", name)
            if name in self.changes:
                self._put(found, name, {**spec_of(declared[name]), **self.changes[name]}, zone)
        elif name in self.dynamic:
            self._put(found, name, self.dynamic[name], zone)
        entry = found.get(name)
        return replace(entry, enabled=False) if entry is not None and name in self.paused else entry

    @staticmethod
    def _put(found: dict[str, Entry], name: str, spec: Mapping[str, Any], zone: tzinfo) -> None:
        try:
            found[name] = read_entry(name, spec, zone)
        except ConfigError as error:
            logger.error("Left as it was: %s", error)  # noqa: TRY400 -- somebody else's mistake, and no bug
        except Exception:  # what no version of app.schedules sends; it must not end every scheduler that reads it
            logger.exception("Left as it was: periodic task %r", name)

    def meet(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Begin to count for entries that are new, or whose schedule is another one than before; returns them."""
        begun = []
        for entry in entries:
            mark = self.marks.get(entry.name)
            if mark is None:
                self.marks[entry.name] = Mark(float(int(now)), entry.fingerprint, seen=now)  # on whole seconds
                begun.append(entry)
                continue
            if mark.fingerprint != entry.fingerprint:
                if mark.fingerprint:
                    mark.last = now
                begun.append(entry)
                mark.fingerprint = entry.fingerprint
            mark.seen = now
        return begun

    def forget(self, now: float) -> None:
        """Drop what is remembered of entries that have been gone for long."""
        for mark in self.marks.values():
            mark.seen = mark.seen or now
        for name in [name for name, mark in self.marks.items() if now - mark.seen > _FORGOTTEN]:
            del self.marks[name]

    def adopt(self, older: State) -> None:
        """Take in what an older snapshot knows and this state does not."""
        self.dynamic = {**older.dynamic, **self.dynamic}
        self.changes = {**older.changes, **self.changes}
        self.rows = {**older.rows, **self.rows}
        self.paused |= older.paused
        self.done = [*older.done, *self.done]
        self.asked = {own: name for own, name in {**older.asked, **self.asked}.items() if own not in self.done}
        for name, mark in older.marks.items():
            if name not in self.marks or not self.marks[name].runs:
                self.marks[name] = mark

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "app": self.app,
            "marks": {
                name: [
                    mark.last, mark.fingerprint, mark.running, mark.running_since, mark.buffered, mark.seen, mark.runs,
                    mark.sent_at,
                ]
                for name, mark in self.marks.items()
            },
            "dynamic": self.dynamic,
            "changes": self.changes,
            "rows": self.rows,
            "paused": sorted(self.paused),
            "asked": self.asked,
            "done": self.done,
        }  # fmt: skip

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> State:
        """What :meth:`plain` gave; keys that are missing are empty.

        Raises:
            ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError: it never gave this.
        """
        return cls(
            app=str(data.get("app", "")),
            marks={name: _mark(*values) for name, values in data.get("marks", {}).items()},
            dynamic=_specs(data.get("dynamic", {})),
            changes=_specs(data.get("changes", {})),
            rows=_specs(data.get("rows", {})),
            paused=set(map(str, data.get("paused", ()))),
            asked={own: str(name) for own, name in data.get("asked", {}).items()},
            done=list(map(str, data.get("done", ()))),
        )


def _time(value: Any) -> float:
    """Seconds since the epoch, of which there is a date."""
    datetime.fromtimestamp(value, tz=UTC)
    return float(value)


def _mark(
    last: Any,
    fingerprint: Any = "",
    running: Any = None,
    since: Any = 0.0,
    buffered: Any = None,
    seen: Any = 0.0,
    runs: Any = 0,
    sent_at: Any = 0.0,
    *_later: Any,  # a later version may know more; one can go back to this one
) -> Mark:
    return Mark(
        _time(last),
        str(fingerprint),
        None if running is None else str(running),
        _time(since),
        None if buffered is None else _time(buffered),
        _time(seen),
        int(runs),
        _time(sent_at),
    )


def _specs(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dict(spec) for name, spec in found.items()}


def replayed(records: Iterable[LogRecord], base: State | None = None) -> State:
    """The state that a log amounts to.

    The last snapshot counts, and every record but those that it says it has taken in: they stand before the record that
    it names as ``upto``, and are gone, or about to go, once the snapshot is stored.

    Args:
        records: the whole log, in the order of the queue.
        base: where to begin when there is no snapshot.
    """
    log = list(records)
    state = base or State()
    for snapshot in reversed([record for record in log if record.kind == "snapshot"]):
        if (found := read_snapshot(snapshot)) is not None:
            state, upto = found, snapshot.data.get("upto")
            place = next((number for number, record in enumerate(log) if record.id == upto), None)
            log = log if place is None else log[place + 1 :]
            break
    for record in log:
        state.apply(record)
    return state


def read_snapshot(record: LogRecord) -> State | None:
    """The state in a snapshot; None, with a log line, for one that no scheduler writes."""
    try:
        return State.of_plain(record.data)
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        logger.error("A snapshot in the scheduler's log is left out: %r", error)  # noqa: TRY400
        return None
