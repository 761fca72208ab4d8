"""What is told of runs that have not ended when the next due time comes. Owns these log lines.

Only the record of a run's end frees what comes after it. When its message was purged nobody writes one, and whether it
is gone can't be asked: it may be in a worker's hands, or wait for its retry. So an operator is told, and decides, or
time does (``overlap_timeout``).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from amqtask.durations import format_duration

if TYPE_CHECKING:
    from datetime import datetime

    from amqtask.schedules.entry import Entry
    from amqtask.schedules.state import Mark

logger = logging.getLogger("amqtask.beat")

_LONG = timedelta(hours=1)
"""A run that must not overlap may take as long as this, or as ten intervals, before anybody wonders."""
_INTERVALS = 10


class Overlaps:
    """Of one process: each run that takes long is told of once."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        """Name of the entry -> id of its run."""

    def skipped(self, entry: Entry, mark: Mark, due: datetime) -> None:
        """An occurrence is left out, for the run before it has not ended."""
        logger.info("Periodic task %s: skipped, the run before has not ended", entry.name)
        self.held(entry, mark, due)

    def begins(self, entry: Entry, mark: Mark) -> None:
        """An occurrence is sent, for the run before has ended, or counts as ended by now."""
        if mark.running is not None and entry.overlap != "allow":
            logger.warning(
                "Periodic task %s: its run %s, due %s, counts as ended after %s, for nobody has told its end",
                entry.name, mark.running, mark.began.isoformat(), _longest(entry),
            )  # fmt: skip

    def held(self, entry: Entry, mark: Mark, due: datetime) -> None:
        """An occurrence waits for the end of the run before it."""
        run, since = mark.running, mark.began
        if run is None or self._told.get(entry.name) == run:
            return
        following = entry.next(since)
        interval = timedelta(0) if following is None else following - since
        if due - since <= max(_LONG, _INTERVALS * interval):
            return
        self._told[entry.name] = run
        logger.warning(
            "Periodic task %s: its run %s, due %s, has not ended, and until then no other one is sent; it counts as "
            "ended after %s. If no worker has it ('amqtask inspect query_task %s') and no retry of it waits, its "
            "message was purged or is lost: 'amqtask schedule release %s' lets the others go on",
            entry.name, run, since.isoformat(), _longest(entry), run, entry.name,
        )  # fmt: skip


def _longest(entry: Entry) -> str:
    return "a day" if entry.overlap_timeout is None else format_duration(entry.overlap_timeout)
