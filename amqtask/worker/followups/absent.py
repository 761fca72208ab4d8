"""Which queues and exchanges messages could not be sent to, and since when.

Owns how long ago that was, and how often the broker is asked again. Only the first messages wait for a place that is
just being made: once it has been waited for in vain, others need not, so that a wrong name holds up nobody. And each
message for an exchange that does not exist costs a channel, with all that is unconfirmed there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.topology.delays import delayed_queues

if TYPE_CHECKING:
    from amqtask.errors import AccessRefused, Unroutable
    from amqtask.wire.message import Outgoing

    Place = tuple[str, ...]
    """Exchange, routing key and, of what waits in the delay ladder, its queues."""

_MEMORY = 60.0
"""Seconds after the last message for a missing place until it is waited for again."""

_ASK = 0.5
"""Seconds between two messages that are really sent there."""

_CROWD = 20
"""This many missing places at a time are not all being made just now: names are made up, or those who had them gone."""

_PLACES = 1000
"""Most places to remember."""


@dataclass(slots=True)
class Absence:
    """A place is missing.

    Attributes:
        error: what the broker said last.
        since: monotonic seconds of the first message that came back.
        asked: the same of the last one.
        crowded: it is one of many.
    """

    error: Unroutable | AccessRefused
    since: float
    asked: float
    crowded: bool = False


class Absent:
    """What has been missing of late. Not thread-safe."""

    def __init__(self) -> None:
        self._places: dict[Place, Absence] = {}

    def known(self, message: Outgoing, now: float) -> Absence | None:
        """Why a message need not be sent just now: its place was missing a moment ago."""
        absence = self._places.get(_place(message)) if self._places else None
        return absence if absence is not None and now - absence.asked < _ASK else None

    def missed(self, message: Outgoing, error: Unroutable | AccessRefused, now: float) -> Absence:
        """No queue took a message, or the user may not send it there."""
        place = _place(message)
        absence = self._places.pop(place, None)
        if absence is None or now - absence.asked > _MEMORY:
            self._forget(now)
            absence = Absence(error, now, now, crowded=len(self._places) >= _CROWD)
        absence.error, absence.asked = error, now
        self._places[place] = absence  # the last in the row to be forgotten
        return absence

    def found(self, message: Outgoing) -> None:
        """A message was taken: its place is there."""
        if self._places:
            self._places.pop(_place(message), None)

    def _forget(self, now: float) -> None:
        """What was asked for long ago stands first."""
        while self._places:
            place, oldest = next(iter(self._places.items()))
            if len(self._places) < _PLACES and now - oldest.asked <= _MEMORY:
                return
            del self._places[place]


def _place(message: Outgoing) -> Place:
    return message.exchange, message.routing_key, *delayed_queues(message.properties.headers)
