"""What is told of runs that have not ended when the next due time comes. Owns these log lines.

Only the record of a run's end frees what comes after it. When its message was purged nobody writes one, and whether it
is gone can't be asked: it may be in a worker's hands, or wait for its retry. So an operator is told, and decides.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

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
            "Periodic task %s: its run %s, due %s, has not ended, and until then, or for a day, no other one is sent. "
            "If its message was purged or is lost, run 'amqtask schedule run-now %s': all goes on when that has ended",
            entry.name, run, since.isoformat(), entry.name,
        )  # fmt: skip
