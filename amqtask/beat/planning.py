"""Which occurrences of one entry are to be sent now, and when to look again. Owns the policies; pure.

mark.last         present         now
    │  due  due  due │   due   due │   due
    └───┴────┴────┴──┼────┴─────┴──┼────┴──►   catch-up and deadline choose among what was missed, before "present";
                     jitter moves each         what has come due since then was not missed, only reached late
                     occurrence, not its due time
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from amqtask.schedules.entry import IN_TIME

if TYPE_CHECKING:
    from amqtask.schedules.entry import Entry
    from amqtask.schedules.state import Mark

AT_ONCE = 500
"""Occurrences of one entry in one look; the rest follows in the next."""

_BUSY = timedelta(seconds=10)
"""How late a scheduler that leads may be without having missed anything. Thousands of new rows of a table, for example,
or a snapshot of thousands of entries, take it a while; one that is frozen for longer has lost the lead."""

_CLOCK_TOLERANCE = timedelta(hours=1)
"""How far the last due time may lie ahead before the clock is taken for corrected. A wall clock schedule waits for its
time to come again after a smaller step back: the same time of day is not run twice."""

_STEP = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DuePlan:
    """What to do about one entry.

    Attributes:
        due: due times to send now, in order.
        last: the due time up to which everything is dealt with once they are sent; None: nothing has changed.
        wake: when to look again; None: never.
        missed: how many due times are left out, at least; they came too late.
    """

    due: tuple[datetime, ...] = ()
    last: datetime | None = None
    wake: datetime | None = None
    missed: int = 0


def offset(entry: Entry, due: datetime) -> timedelta:
    """How much later than due an occurrence is sent: at random, but the same for whoever asks."""
    if not entry.jitter:
        return timedelta(0)
    digest = hashlib.blake2b(f"{entry.name}@{due.isoformat()}".encode(), digest_size=8).digest()
    return entry.jitter * (int.from_bytes(digest, "big") / 2**64)


def plan_due(entry: Entry, mark: Mark, now: datetime, present: datetime) -> DuePlan:
    """What is to be done about an entry at this moment; somebody has been there to do it since ``present``."""
    after = mark.last_due
    if after > now and after - now > _ahead(entry, after):
        return DuePlan(last=now, wake=_fires(entry, now))
    first = entry.next(after)
    if first is None:
        return DuePlan()
    fires = first + offset(entry, first)
    if fires > now:
        return DuePlan(wake=fires)
    if entry.catchup == "all" or (fires >= present and now - fires <= _BUSY):
        return _all(entry, first, now)
    there = timedelta(0) <= now - present <= _BUSY  # else what has come due since then is as late as the rest
    newest = _newest(entry, after, first, present if there else now)
    late = _too_late(entry, newest, now)
    missed = DuePlan(() if late else (newest,), newest, _fires(entry, newest), 1 if late else int(newest != first))
    following = entry.next(newest)
    if not there or following is None or following + offset(entry, following) > now:
        return missed
    rest = _all(entry, following, now)
    return DuePlan((*missed.due, *rest.due), rest.last, rest.wake, missed.missed + rest.missed)


def _all(entry: Entry, first: datetime, now: datetime) -> DuePlan:
    found: list[datetime] = []
    due: datetime | None = _begin(entry, first, now)
    missed = int(due != first)
    last = first if due is None else due
    while due is not None and due + offset(entry, due) <= now and len(found) < AT_ONCE:
        last = due
        if _too_late(entry, due, now):
            missed += 1
        else:
            found.append(due)
        due = entry.next(due)
    return DuePlan(tuple(found), last, None if due is None else due + offset(entry, due), missed)


def _begin(entry: Entry, first: datetime, now: datetime) -> datetime | None:
    """Where those begin that are not too late: counting all before would take long after a long time away."""
    bound = entry.latest_start
    if bound is None or now - first <= bound + entry.jitter + IN_TIME:
        return first
    skipped = entry.latest(first, now - bound - entry.jitter - _STEP)
    return first if skipped is None else entry.next(skipped)


def _newest(entry: Entry, after: datetime, first: datetime, now: datetime) -> datetime:
    newest = entry.latest(after, now) or first
    while newest > first and newest + offset(entry, newest) > now:
        newest = entry.latest(after, newest - _STEP) or first
    return newest


def _too_late(entry: Entry, due: datetime, now: datetime) -> bool:
    bound = entry.latest_start
    return bound is not None and now - (due + offset(entry, due)) > bound


def _fires(entry: Entry, after: datetime) -> datetime | None:
    due = entry.next(after)
    return None if due is None else due + offset(entry, due)


def _ahead(entry: Entry, last: datetime) -> timedelta:
    if not any(one.follows for one in entry.schedules):
        return _CLOCK_TOLERANCE
    due = entry.next(last)
    return _CLOCK_TOLERANCE if due is None else min(due - last, _CLOCK_TOLERANCE)


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as a moment."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def lateness(entry: Entry, due: datetime, now: float) -> timedelta:
    """How much later than planned an occurrence is sent."""
    return moment(now) - due - offset(entry, due)
