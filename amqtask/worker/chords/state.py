"""Counting the members of one chord in its queue, as one worker sees it: a state machine (sans I/O).

Owns when to look, when to collect what lies there, and when a member that was counted may be acked. Looking is a
passive declare: it tells how many messages are ready. A number that is high enough is a hint only, as duplicates
count too; so the worker takes all messages, as the only consumer, and counts distinct members.

    IDLE ─► LOOKING ─► JOINING ─► COLLECTING ─► DISPATCHING ─► DELETING ─► over
      ▲ few    │ ▲        │ refused    │ not all there
      └────────┘ └─ WAITING            └─► RELEASING (duplicates acked, the rest returned) ─► LOOKING

While one worker holds the messages, another one's look sees few. That is why a member is let go only by a look that
began after it was counted, and why whoever gives messages back looks once more. So the last look of all sees what
there is, or the one who prevented it dies with a member unacked, which then is counted and looked at again.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


class Action(Enum):
    """What the caller is to do next."""

    NOTHING = auto()
    LOOK = auto()
    """Tell :meth:`ChordState.looked` how many messages are ready."""
    JOIN = auto()
    """Consume as the only one; then ``joined`` or ``refused``, and ``arrived`` for each message."""
    WAIT = auto()
    """Call ``waited`` after a moment."""
    DISPATCH = auto()
    """Send the body with ``results()``, or fail it when ``expired``; then ``dispatched``."""
    DELETE = auto()
    """Delete the queue; then ``deleted``."""
    RELEASE = auto()
    """Ack ``duplicates`` and return all other messages; then ``released``."""


class Phase(Enum):
    """See the module's drawing."""

    IDLE = auto()
    LOOKING = auto()
    WAITING = auto()
    JOINING = auto()
    COLLECTING = auto()
    DISPATCHING = auto()
    ORPHANED = auto()
    """The body is on its way, but the queue's messages are no longer ours."""
    DELETING = auto()
    RELEASING = auto()
    OVER = auto()


class Completion(NamedTuple):
    """A message in the chord's queue.

    Attributes:
        key: of the member; None: this is no completion.
        position: of the member in the header.
        result: its encoded result; None: the header has grown.
        more: by this many members.
    """

    key: str | None
    position: int | None = None
    result: bytes | None = None
    more: int = 0


class ChordState:
    """One chord queue.

    Args:
        size: of the header.

    Attributes:
        settled: members with this ticket or a lower one may be acked.
        expired: the deadline has passed: the body fails unless all members are there.
        duplicates: tags of messages that are not needed.
    """

    def __init__(self, size: int) -> None:
        self.phase = Phase.IDLE
        self.settled = 0
        self.expired = False
        self.duplicates: list[int] = []
        self._size = size
        self._grown: dict[str, int] = {}
        self._growth_seen: set[str] = set()
        self._parts: dict[str, Completion] = {}
        self._ticket = self._covered = 0
        self._ready = self._arrived = 0
        self._sent = False

    @property
    def over(self) -> bool:
        """The body is sent, by whomever: every member may be acked."""
        return self.phase is Phase.OVER

    def want(self) -> tuple[int, Action]:
        """A member is counted, or a watch wants a look; returns its ticket."""
        self._ticket += 1
        return self._ticket, self._look() if self.phase is Phase.IDLE else Action.NOTHING

    def expire(self) -> None:
        """The deadline has passed; to be called before :meth:`want`."""
        self.expired = True

    def _look(self) -> Action:
        self.phase = Phase.LOOKING
        self._covered = self._ticket
        return Action.LOOK

    def _finish(self) -> Action:
        self.phase = Phase.OVER
        self.settled = self._ticket
        return Action.NOTHING

    def looked(self, ready: int | None) -> Action:
        """This many messages are ready; None: there is no such queue, so the chord is over."""
        if self.phase is not Phase.LOOKING:
            return Action.NOTHING
        if ready is None:
            return self._finish()
        if self._sent:  # by us, but the queue could not be deleted then
            self.phase = Phase.DELETING
            return Action.DELETE
        self._ready = ready
        if self.expired or ready >= self._needed() + len(self._grown):
            self.phase = Phase.JOINING
            return Action.JOIN
        self.settled = self._covered
        if self._ticket > self._covered:
            return self._look()
        self.phase = Phase.IDLE
        return Action.NOTHING

    def _needed(self) -> int:
        return self._size + sum(self._grown.values())

    def waited(self) -> Action:
        """The moment has passed."""
        return self._look() if self.phase is Phase.WAITING else Action.NOTHING

    def joined(self) -> Action:
        """We are the only consumer."""
        if self.phase is Phase.JOINING:
            self.phase = Phase.COLLECTING
            self._parts, self.duplicates, self._growth_seen, self._arrived = {}, [], set(), 0
        return Action.NOTHING

    def refused(self) -> Action:
        """Somebody else is."""
        if self.phase is not Phase.JOINING:
            return Action.NOTHING
        self.phase = Phase.WAITING
        return Action.WAIT

    def arrived(self, tag: int, message: Completion) -> Action:
        """A message of the queue."""
        if self.phase is not Phase.COLLECTING:
            return Action.NOTHING
        self._arrived += 1
        key = message.key
        if key is None or key in self._parts or key in self._growth_seen:
            self.duplicates.append(tag)
        elif message.result is None:
            self._growth_seen.add(key)
            self._grown[key] = message.more
        else:
            self._parts[key] = message
        return self._dispatch() if len(self._parts) >= self._needed() else Action.NOTHING

    def _dispatch(self) -> Action:
        self.phase = Phase.DISPATCHING
        return Action.DISPATCH

    def quiet(self, *, last: bool = False) -> Action:
        """No message has come for a while: there is no more, or none that comes soon.

        Args:
            last: it was waited for long enough to believe the former.
        """
        if self.phase is not Phase.COLLECTING:
            return Action.NOTHING
        if self.expired and (last or self._arrived >= self._ready):
            return self._dispatch()
        self.phase = Phase.RELEASING
        return Action.RELEASE

    def results(self) -> list[bytes] | None:
        """The results in the order of the header; None when some are missing."""
        if len(self._parts) < self._needed():
            return None
        parts = sorted(self._parts.values(), key=lambda part: (part.position is None, part.position or 0))
        return [part.result for part in parts if part.result is not None]

    @property
    def missing(self) -> int:
        """Members that have not been counted, as far as this worker has seen."""
        return self._needed() - len(self._parts)

    def dispatched(self) -> Action:
        """The body, or its failure, is confirmed."""
        self._sent = True
        if self.phase is Phase.ORPHANED:
            return self._look()
        self.phase = Phase.DELETING
        return Action.DELETE

    def deleted(self) -> Action:
        """The queue is gone."""
        return self._finish() if self.phase is Phase.DELETING else Action.NOTHING

    def released(self) -> Action:
        """The messages are ready again."""
        return self._look() if self.phase is Phase.RELEASING else Action.NOTHING

    def lost(self) -> Action:
        """The channel is gone, and with it what we held."""
        if self.phase is Phase.DISPATCHING:
            self.phase = Phase.ORPHANED
        if self.phase in (Phase.JOINING, Phase.COLLECTING, Phase.DELETING, Phase.RELEASING):
            return self._look()
        return Action.NOTHING
