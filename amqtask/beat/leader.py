"""The scheduler's protocol, without any I/O: who leads, what is sent, what is written to the log, what leaves it.

The queue of the log has a single active consumer: the broker gives everything in it to one process, and to the next as
soon as that one's channel is gone. An occurrence is one message that the broker puts into the task's queue and, as a
blind copy, into the log. It is published on the very channel that consumes the log. So

*   nothing of a former leader can arrive after its log was passed on: its channel is gone, and the broker takes what
    came through it before;
*   whoever takes over finds in the log exactly the occurrences that were sent.

    standby ──first record──► reading ──own claim comes back──► leading

See docs/adr for why this gives one run for each due time.
"""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Literal

from amqtask.beat.claims import Claims
from amqtask.beat.effects import NotYet
from amqtask.beat.overlaps import Overlaps
from amqtask.beat.planning import moment, plan_due
from amqtask.errors import MessageTooLarge
from amqtask.schedules.records import LogRecord, read_record, record_message
from amqtask.schedules.state import State, read_snapshot, replayed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, tzinfo

    from amqtask.beat.effects import BeatEffects
    from amqtask.schedules.entry import Entry
    from amqtask.schedules.records import Kind
    from amqtask.schedules.state import Mark
    from amqtask.wire.message import PropertiesLike

logger = logging.getLogger("amqtask.beat")

COMPACT_AFTER = 1000
"""Records after which a snapshot is written, unless there are more entries than that."""
COMPACT_EVERY = 60.0
"""Seconds after which one is written if there is anything new."""
RENEW_EVERY = 300.0
"""Seconds after which one is written anyway: brokers take a message back that is held for half an hour."""
_OTHERS_LEAD = 5.0
"""Seconds without the log, which is never empty, after which another process has it."""
_HANDOVER = 2.0
"""Seconds that the broker may take to hand on a long log: who stands by counts as there meanwhile."""

_AT_ONCE = 500
"""Entries in one tick."""

Phase = Literal["away", "standby", "reading", "leading"]


class Leader:
    """One process's part; a new channel begins it anew with :meth:`opened`.

    Args:
        queue: of the log.
        app: name of the application; others must not share the log.
        declared: the entries of the program.
        zone: of schedules that name none.
        effects: what is done.
        now: wall clock, in seconds since the epoch.
        patience: seconds that a run which was asked for waits for its entry, which a table may still bring.
    """

    def __init__(
        self,
        queue: str,
        app: str,
        declared: Mapping[str, Entry],
        zone: tzinfo,
        effects: BeatEffects,
        now: Callable[[], float],
        patience: float = 0.0,
    ) -> None:
        self.queue, self._app, self.declared, self._zone = queue, app, declared, zone
        self._effects, self._now, self._patience = effects, now, patience
        self.phase: Phase = "away"
        self.state = State()
        """Counts while the log has none: it may be given before :meth:`opened`. Forgotten when another process leads,
        which knows better."""
        self.entries: dict[str, Entry] = {}
        self._claims, self._overlaps = Claims(queue, app, declared), Overlaps()
        self._claim = ""
        """Id of the last one of this process."""
        self._waits = False
        """It is not told yet that another process leads."""
        self._present = 0.0
        """Since when this process has been there to send, and its clock as it is."""
        self._log: list[LogRecord] = []
        self._opened_at = 0.0
        self._tag = 0
        """Of the last delivery."""
        self._last_id = ""
        """Its message's id."""
        self._snapshots: dict[str, int] = {}
        """Those on their way: id -> tag up to which their coming back settles everything."""
        self._new = 0
        """Records since the last snapshot."""
        self._written_at = 0.0
        self._heap: list[tuple[float, str]] = []
        self._wakes: dict[str, float] = {}
        self._unknown: dict[str, float] = {}
        """Commands to run what is not there: id -> when that was seen first."""

    # -- what happens

    def opened(self) -> None:
        """The log is consumed on a new channel; it may be another process that gets it."""
        self.phase, self._log, self._tag, self._last_id = "standby", [], 0, ""
        self._opened_at, self._waits = self._now(), True
        self._snapshots.clear()
        self._put_claim()  # an empty log needs a first record

    def lost(self) -> None:
        """The channel is gone, and with it the lead."""
        self.phase = "away"

    def delivered(self, tag: int, properties: PropertiesLike, body: bytes) -> None:
        """The next message of the log."""
        record = read_record(properties, body)
        self._tag = tag
        if record is None:
            logger.error("The scheduler's queue %s holds a message that is not its own; it is dropped", self.queue)
            record = LogRecord("claim", "")
        self._last_id = record.id or self._last_id
        if self.phase == "leading":
            self._take(record)
            return
        if self.phase == "standby":
            now = self._now()  # if the clock was set back, it was opened later than that
            self.phase, self._present = "reading", min(max(self._opened_at, now - _HANDOVER), now)
            self._put_claim()
            self._log = [record]
        elif record.kind == "claim" and record.id == self._claim:
            self._begin()
        else:
            self._log.append(record)

    def tick(self) -> float | None:
        """Do what is due; returns seconds until the next look, None when only records can bring something."""
        now = self._now()
        if self.phase == "standby" and now - self._opened_at > _OTHERS_LEAD:
            self.state = State()
            if self._waits:
                logger.info("Another scheduler of app %r leads; waiting for it to end", self._app)
            self._waits = False
        if self.phase != "leading":
            return None
        for _ in range(_AT_ONCE):  # in between, the connection has to be served
            if not self._heap or self._heap[0][0] > now:
                break
            at, name = heapq.heappop(self._heap)
            if self._wakes.get(name) == at:
                del self._wakes[name]
                self._look(name)
        self._compact(now)
        return None if not self._heap else max(self._heap[0][0] - self._now(), 0.0)

    def clock_set(self) -> None:
        """What the clock has jumped over counts as missed."""
        self._present = self._now()
        self.rewind()

    def rewind(self) -> None:
        """The clock was set, or queues are there now: what was planned is planned again."""
        for name in self.entries:
            self._look(name)
        self._run_asked()

    def rows(self, said: Mapping[str, Mapping[str, object] | None]) -> None:
        """What a table says of these entries, None of those whose rows are gone: that goes into the log as one command.

        Raises:
            MessageTooLarge: it can't be sent.
        """
        rows = {name: spec for name, spec in said.items() if self.state.rows.get(name) != spec}
        if self.phase == "leading" and rows:
            self._put(
                "command", {"do": "rows", "rows": rows, "declared": [name for name in rows if name in self.declared]}
            )

    def table_was_read(self) -> None:
        """What was asked for and is not there yet will not come."""
        if self.phase == "leading":
            self._run_asked()

    # -- the log

    def _put(self, kind: Kind, data: Mapping[str, object]) -> str:
        message = record_message(self.queue, kind, data)
        self._effects.publish(message)
        return str(message.properties.message_id)

    def _put_claim(self) -> None:
        self._claim = self._put("claim", self._claims.own())

    def _begin(self) -> None:
        """Everything before the own claim is the log."""
        known = self.state if self.state.marks else None  # from an earlier lead, if the log was lost meanwhile
        self.state = replayed(self._log, known)
        self._log = []
        self._claims.followed(self.state.app)
        self.state.app = self._app
        self.phase = "leading"
        self._refresh()
        self._write()
        self._effects.leading()

    def _take(self, record: LogRecord) -> None:
        """A record that has come while leading: an own one comes back, or somebody asks for something."""
        if record.kind == "snapshot":
            upto = self._snapshots.pop(record.id, 0)
            if upto:
                self._effects.acknowledge(upto)
            else:  # somebody had it in hand, to look at it, while this process read the log
                if (found := read_snapshot(record)) is not None:
                    self.state.adopt(found)
                self._new += 1
                self._refresh()
        elif record.kind == "query":
            self._answer(record)
        elif record.kind == "claim":
            self._claims.heard(record.data)
        else:
            self._new += 1
            self.state.apply(record)
            if record.kind == "command":
                do, name, rows = record.data.get("do"), str(record.data.get("name")), record.data.get("rows")
                self._changed([name] if do != "rows" else list(rows) if isinstance(rows, dict) else [])
                if do == "release":
                    self._ended(name)
                if name not in self.entries and do not in ("remove", "rows", "run_now"):  # that may wait for a row
                    logger.warning("%s: there is no periodic task %r", do, name)
            elif record.kind == "ended":
                self._ended(str(record.data.get("entry")))

    def _compact(self, now: float) -> None:
        if self._snapshots:  # one is on its way still: the broker takes nothing now
            return
        age = now - self._written_at
        full = self._new >= max(COMPACT_AFTER, len(self.entries))
        if full or (self._new and age >= COMPACT_EVERY) or age >= RENEW_EVERY or age < 0:
            self._write()

    def _write(self) -> None:
        """Write a snapshot of all that was delivered and sent so far."""
        data = {**self.state.plain(), "upto": self._last_id}
        self._new, self._written_at = 0, self._now()
        try:
            self._snapshots[self._put("snapshot", data)] = self._tag
        except MessageTooLarge as error:  # the log has everything, but grows
            told = "The state of %d periodic tasks can't be written, so queue %s grows (broker_max_message_size): %s"
            logger.error(told, len(self.entries), self.queue, error)  # noqa: TRY400
        self._effects.written(data)

    def _answer(self, record: LogRecord) -> None:
        if record.reply_to:
            wakes = {name: self._wakes.get(name) for name in self.entries}
            self._effects.answer(record.reply_to, {"state": self.state.plain(), "next": wakes})

    # -- the entries

    def _refresh(self) -> None:
        """The entries may be others, or what was asked for at once."""
        self.entries = self.state.entries(self.declared, self._zone)
        self.state.meet(self.entries.values(), self._now())
        self.state.forget(self._now())
        self._heap.clear()
        self._wakes.clear()
        for name in self.entries:
            self._look(name)
        self._run_asked()

    def _changed(self, names: Iterable[str]) -> None:
        """These may be others; to plan ten thousand anew takes long."""
        found, begun = [], {}
        for name in names:
            before, entry = self.entries.pop(name, None), self.state.entry(name, self.declared, self._zone)
            self._wakes.pop(name, None)
            if entry is None:
                continue
            self.entries[name] = entry
            # paused it has missed what there was
            found.append((name, None if before is not None and before.enabled else self._now()))
            if self.state.meet([entry], self._now()):
                mark = self.state.marks[name]
                begun[name] = (mark.last, mark.fingerprint)
        if begun:  # the next leader is to count from the same moment
            self._put("skipped", {"begun": begun})
        for name, present in found:
            self._look(name, present)
        self._run_asked()

    def _run_asked(self) -> None:
        for command, name in list(self.state.asked.items()):
            entry, now = self.entries.get(name), self._now()
            if entry is not None:
                self._unknown.pop(command, None)
                self._send(entry, moment(now), asked=command)
            elif now - self._unknown.setdefault(command, now) >= self._patience:
                logger.error("Asked to run %r, but there is no such periodic task", name)
                self.state.asked.pop(command)
                self._unknown.pop(command)

    def _wake(self, name: str, at: float) -> None:
        self._wakes[name] = at
        heapq.heappush(self._heap, (at, name))

    def _look(self, name: str, present: float | None = None) -> None:
        entry = self.entries.get(name)
        if entry is None or not entry.enabled:
            return
        self._ended(name)  # while nobody led, or before its queue was there
        now, mark = self._now(), self.state.marks[name]
        try:
            planned = plan_due(entry, mark, moment(now), moment(self._present if present is None else present))
        except Exception:  # one entry must not keep the others from being sent, nor the next leader from leading
            logger.exception("Periodic task %s can't be planned, and is left out", name)
            return
        if planned.missed:
            logger.warning(
                "Periodic task %s: due times were missed, and are left out (catchup: %s)", name, entry.catchup
            )
        for due in planned.due:
            if not self._occur(entry, mark, due):
                break
        else:
            if planned.last is not None:
                mark.last = planned.last.timestamp()
        if planned.wake is not None:
            self._wake(name, planned.wake.timestamp())

    def _occur(self, entry: Entry, mark: Mark, due: datetime) -> bool:
        """One due time has come."""
        busy = mark.is_running(self._now(), entry.overlap_timeout)
        if busy and entry.overlap == "skip":
            self._overlaps.skipped(entry, mark, due)
            # the next leader must not take it for missed, and catch up on it
            self._put("skipped", {"entry": entry.name, "due": due.timestamp()})
        elif busy and entry.overlap == "buffer_one":
            self._overlaps.held(entry, mark, due)
            mark.buffered = due.timestamp()
            self._put("skipped", {"entry": entry.name, "due": mark.buffered, "buffered": True})
        else:
            if busy and entry.overlap == "cancel_previous" and mark.running is not None:
                self._effects.cancel(mark.running)
            if not busy:
                self._overlaps.begins(entry, mark)
            return self._send(entry, due)
        mark.last = due.timestamp()
        return True

    def _ended(self, name: str) -> None:
        entry, mark = self.entries.get(name), self.state.marks.get(name)
        if entry is None or mark is None or mark.running is not None or mark.buffered is None:
            return
        if not entry.enabled or self._send(entry, moment(mark.buffered)):
            mark.buffered = None

    def _send(self, entry: Entry, due: datetime, asked: str | None = None) -> bool:
        report = entry.overlap != "allow"
        try:
            task_id = self._effects.send(entry, due, report=report, asked=asked)
        except NotYet:
            return False
        except Exception as error:
            # one entry that can't be sent must not keep the others from being sent
            logger.exception("Periodic task %s could not be sent: %s", entry.name, error)  # noqa: TRY401
            task_id = ""
        data = {"entry": entry.name, "due": due.timestamp(), "id": task_id, "asked": asked, "report": report}
        data["at"] = self._now()
        if not task_id:
            data.pop("report")
        self.state.apply(LogRecord("sent", "", {key: value for key, value in data.items() if value is not None}))
        self._new += 1
        return True
