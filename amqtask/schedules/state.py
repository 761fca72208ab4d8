"""What the scheduler remembers, as a value: when each entry was last due, what was changed at run time.

Owns the rules by which each record of the log changes it, so that whoever reads the log arrives at the same state.
Applying a record again, or one whose effect a snapshot has already, changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.schedules.entry import read_entry, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from amqtask.schedules.entry import Entry
    from amqtask.schedules.records import Record

logger = logging.getLogger("amqtask.beat")

_KEPT = 1000
"""Commands to run something at once that are remembered as done."""
_FORGOTTEN = 30 * 86_400.0
"""Seconds after which an entry that nobody declares any more is forgotten: a deployment may be rolled back."""


@dataclass(slots=True)
class Mark:
    """How far one entry has come.

    Attributes:
        last: its last due time that is dealt with, or when it was first seen; seconds since the epoch.
        fingerprint: of the schedule this belongs to.
        running: id of the run that has not ended yet, for entries that must not overlap.
        running_since: when that was sent.
        buffered: the due time that waits for its end.
        seen: when it was last among the entries.
        runs: how often it was sent.
    """

    last: float
    fingerprint: str = ""
    running: str | None = None
    running_since: float = 0.0
    buffered: float | None = None
    seen: float = 0.0
    runs: int = 0

    @property
    def last_due(self) -> datetime:
        """``last`` as a moment."""
        return datetime.fromtimestamp(self.last, tz=UTC)


@dataclass(slots=True)
class State:
    """Everything that a snapshot holds.

    Attributes:
        app: name of the application that wrote it.
        marks: by name of entry.
        dynamic: entries added at run time, as plain values.
        changes: what was changed at run time of entries that the program declares.
        paused: names.
        asked: command id -> name of an entry that is to run at once.
        done: ids of such commands, oldest first.
    """

    app: str = ""
    marks: dict[str, Mark] = field(default_factory=dict)
    dynamic: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def apply(self, record: Record) -> None:
        """Take in what has happened."""
        data = record.data
        if record.kind == "sent":
            self._sent(data)
        elif record.kind == "ended":
            mark = self.marks.get(str(data.get("entry")))
            if mark is not None and mark.running == data.get("id"):
                mark.running = None
        elif record.kind == "skipped":
            mark = self.marks.get(str(data.get("entry")))
            if mark is not None:
                mark.last = max(mark.last, float(data.get("due", 0.0)))
        elif record.kind == "command":
            self._command(record.id, str(data.get("do")), str(data.get("name")), data)

    def _sent(self, data: Mapping[str, Any]) -> None:
        name, due, asked = data["entry"], float(data["due"]), data.get("asked")
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
            mark.running, mark.running_since = data["id"], due
            if mark.buffered is not None and mark.buffered <= due:
                mark.buffered = None

    def _command(self, own: str, what: str, name: str, data: Mapping[str, Any]) -> None:
        spec = data.get("spec")
        if what == "add" and isinstance(spec, dict):
            self.dynamic[name] = spec
        elif what == "update" and isinstance(spec, dict):
            where = self.dynamic if name in self.dynamic else self.changes
            where[name] = {**where.get(name, {}), **spec}
        elif what == "remove":
            if self.dynamic.pop(name, None) is not None:
                self.marks.pop(name, None)
            self.changes.pop(name, None)
            self.paused.discard(name)
        elif what == "pause":
            self.paused.add(name)
        elif what == "resume":
            self.paused.discard(name)
        elif what == "run_now" and own not in self.done:
            self.asked[own] = name

    def entries(self, declared: Mapping[str, Entry], zone: tzinfo) -> dict[str, Entry]:
        """What is in force: the declared entries with their changes, and those added at run time."""
        found = {name: self.entry(name, declared, zone) for name in (*declared, *self.dynamic)}
        return {name: entry for name, entry in found.items() if entry is not None}

    def entry(self, name: str, declared: Mapping[str, Entry], zone: tzinfo) -> Entry | None:
        """The one of this name that is in force."""
        found = {name: declared[name]} if name in declared else {}
        if name in declared and name in self.dynamic:
            logger.error("Periodic task %r is declared by now; the one added at run time is left out", name)
        if name in declared and name in self.changes:
            self._put(found, name, {**spec_of(declared[name]), **self.changes[name]}, zone)
        elif name not in declared and name in self.dynamic:
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

    def meet(self, entries: Iterable[Entry], now: float) -> None:
        """Begin to count for entries that are new, or whose schedule is another one than before."""
        for entry in entries:
            mark = self.marks.get(entry.name)
            if mark is None:
                self.marks[entry.name] = Mark(float(int(now)), entry.fingerprint, seen=now)  # on whole seconds
                continue
            if mark.fingerprint != entry.fingerprint:
                if mark.fingerprint:
                    mark.last = now
                mark.fingerprint = entry.fingerprint
            mark.seen = now

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
                ]
                for name, mark in self.marks.items()
            },
            "dynamic": self.dynamic,
            "changes": self.changes,
            "paused": sorted(self.paused),
            "asked": self.asked,
            "done": self.done,
        }  # fmt: skip

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> State:
        """What :meth:`plain` gave; keys that are missing are empty."""
        return cls(
            app=str(data.get("app", "")),
            # a later version may know more; one can go back to this one
            marks={name: Mark(*values[: len(fields(Mark))]) for name, values in data.get("marks", {}).items()},
            dynamic=dict(data.get("dynamic", {})),
            changes=dict(data.get("changes", {})),
            paused=set(data.get("paused", ())),
            asked=dict(data.get("asked", {})),
            done=list(data.get("done", ())),
        )


def replayed(records: Iterable[Record], base: State | None = None) -> State:
    """The state that a log amounts to.

    The last snapshot counts, and every record but those that it says it has taken in: they stand before the record that
    it names as ``upto``, and are gone, or about to go, once the snapshot is stored.

    Args:
        records: the whole log, in the order of the queue.
        base: where to begin when there is no snapshot.
    """
    log = list(records)
    snapshot = next((record for record in reversed(log) if record.kind == "snapshot"), None)
    if snapshot is None:
        state = base or State()
    else:
        state = State.of_plain(snapshot.data)
        upto = snapshot.data.get("upto")
        place = next((number for number, record in enumerate(log) if record.id == upto), None)
        log = log if place is None else log[place + 1 :]
    for record in log:
        state.apply(record)
    return state
