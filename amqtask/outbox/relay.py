"""The relay: takes rows that transactions have committed, publishes them, deletes what is confirmed. Owns that loop.

A row is deleted after its confirm, in the transaction that has it locked. Who dies in between has published, and the
row is published again, under the same message id: at least once. What the broker refuses stays with the reason, and is
tried again after a pause; the others go on.
"""

from __future__ import annotations

import logging
from math import ceil
from typing import TYPE_CHECKING, Final

from amqtask import clock
from amqtask.errors import AccessRefused, BackendError, BrokerBlocked, BrokerUnavailable, DecodeError
from amqtask.outbox.rows import message_of, up_to_date
from amqtask.outbox.store import Held, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.errors import AmqtaskError
    from amqtask.outbox.rows import Row
    from amqtask.outbox.store import Store
    from amqtask.wire.message import Outgoing

    Deliver = Callable[[Sequence[Outgoing]], Mapping[int, AmqtaskError]]
    """Publishes in order and waits for the confirms; returns place -> error of those that were not taken."""

logger = logging.getLogger("amqtask.outbox")

INTERVAL: Final = 0.25
"""Seconds between two looks at an empty table."""
BATCH: Final = 100
"""Rows that are locked, sent and deleted together."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
"""Seconds, while broker or database are away."""
_LONGEST_HOLD = 60
"""Seconds until a row that was refused is tried again."""
_LONGEST_TEXT = 1000


def is_away(error: AmqtaskError) -> bool:
    """Whether it is not the row's fault: it stays as it is, and the broker, or the result backend, is waited for."""
    if isinstance(error, AccessRefused):
        return error.for_all
    return isinstance(error, BrokerUnavailable | BrokerBlocked | BackendError)


class Relay:
    """Works off the outbox of one app. Any number of them may run; one at a time has the rows.

    Args:
        store: of the rows.
        deliver: publishes.
        interval: seconds between two looks at an empty table.
    """

    def __init__(self, store: Store, deliver: Deliver, interval: float = INTERVAL) -> None:
        self._store, self._deliver, self._interval = store, deliver, interval
        self._confirmed: set[tuple[int, str]] = set()
        """Rows that are published, and perhaps not deleted: the database has failed meanwhile."""
        self._deleting: set[tuple[int, str]] = set()
        """Those of them that are deleted when this turn commits."""
        self._away: AmqtaskError | None = None
        self._pause = 0.0

    def run(self, told_to_stop: Callable[[float], object]) -> None:
        """Work until told to stop; ends after the rows it has in hand.

        Args:
            told_to_stop: waits so many seconds at most, and returns whether to stop.
        """
        while not told_to_stop(self.turn()):
            pass

    def turn(self) -> float:
        """Work off some rows; returns the seconds to wait before the next turn."""
        was_away, self._away = self._away, None
        found: int | None = None
        try:
            found = self._store.work_off(int(clock.wall()), BATCH, self._settle)
        except BackendError as error:
            self._away = error
        else:
            if found == 0:
                self._confirmed.clear()  # whatever became of them, they are gone
            elif found is not None:
                self._confirmed -= self._deleting
        away: AmqtaskError | None = self._away
        if away is not None:
            if was_away is None:
                logger.warning("The relay waits: %s", away)
            self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            return self._pause
        if was_away is not None:
            logger.info("The relay goes on")
        self._pause = 0.0
        return 0.0 if found else self._interval

    def _settle(self, rows: Sequence[Row]) -> Settled:
        refused: list[tuple[Row, AmqtaskError]] = []
        sent: list[Row] = []
        messages: list[Outgoing] = []
        for row in rows:
            if _key(row) in self._confirmed:
                continue
            try:
                messages.append(up_to_date(message_of(row)))
            except DecodeError as unreadable:
                refused.append((row, unreadable))
            else:
                sent.append(row)
        errors = self._deliver(messages) if messages else {}
        for at, row in enumerate(sent):
            error = errors.get(at)
            if error is None:
                self._confirmed.add(_key(row))
            elif is_away(error):
                self._away = error
            else:
                refused.append((row, error))
        done = [row for row in rows if _key(row) in self._confirmed]
        self._deleting = set(map(_key, done))
        return Settled([row.id for row in done], _hold(refused))


def _key(row: Row) -> tuple[int, str]:
    """What no other row is, not even one that gets the same id later: the message id is among the properties."""
    return row.id, row.properties


def _hold(refused: Sequence[tuple[Row, AmqtaskError]]) -> dict[int, Held]:
    """Why these stay, and until when; the log is told what is new, once for all that have the same error."""
    now, held, news = ceil(clock.wall()), {}, dict[str, list[int]]()
    for row, error in refused:
        text = _plain(f"{type(error).__name__}: {error}")
        held[row.id] = Held(now + min(2 ** min(row.attempts, 6), _LONGEST_HOLD), text)
        if text != row.error:
            news.setdefault(text, []).append(row.id)
    for text, ids in news.items():
        more = f" and {len(ids) - 1} more" if ids[1:] else ""
        logger.error("Row %d of the outbox%s can't be sent, and is tried again: %s", ids[0], more, text)
    return held


def _plain(text: str) -> str:
    """What every database takes, whatever its character set: an error that can't be written would stop the others."""
    return text[:_LONGEST_TEXT].encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
