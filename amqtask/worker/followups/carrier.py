"""Carries out what follows from a task beside its settlement.

    chords to begin ─► callbacks ─► records ─► parts of chords

Owns the order, and when all of it is stored. Each step is repeated until it is done; what can never be done is either
reported (``carry``) or logged and left out (``carry_rest``), so that nothing waits for ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from amqtask.errors import Unroutable
from amqtask.execution.job import After
from amqtask.worker.followups.answers import answer
from amqtask.worker.followups.patient import NO_GRACE, Grace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.execution.job import Begin
    from amqtask.results.base import Part, Record
    from amqtask.worker.followups.patient import Patient
    from amqtask.worker.followups.storing import Storing

    Carried = Callable[["Exception | None"], None]
    """Told that everything is stored, or the first thing that never can be."""

logger = logging.getLogger(__name__)

_GRACE = Grace(other=2.0, declared=30.0)
"""Somebody else may be making the queue of a callback just now. One of routing.yaml that is not ours to declare, or
that is away with its node, mostly comes."""


class ChordBeginner(Protocol):
    """Begins chords."""

    def begin(self, begin: Begin, key: str, who: str, done: Callable[[], None]) -> None:
        """Make a chord known; ``done`` once it is."""


class PartCounter(Protocol):
    """Counts members of chords."""

    def count(self, part: Part, who: str, done: Callable[[], None]) -> None:
        """Count a member; ``done`` once that is stored, and the body is if this was the last one."""


class Carrier:
    """Lives on the I/O thread.

    Args:
        patient: publishes.
        storing: stores records, unless they travel by message.
        by_message: records are answers to callers.
        persistent: those survive a restart of the broker.
        instead: makes the record that is stored instead of one that can't be, whose task has succeeded all the same.

    Attributes:
        counter: counts parts; to be set before anything is carried.
        beginner: begins chords; the same.
    """

    counter: PartCounter
    beginner: ChordBeginner

    def __init__(
        self,
        patient: Patient,
        storing: Storing,
        *,
        by_message: bool,
        persistent: bool,
        instead: Callable[[Record, Exception], Record],
    ) -> None:
        self._patient, self._storing = patient, storing
        self._by_message, self._persistent, self.instead = by_message, persistent, instead

    def carry(self, after: After, who: str, done: Carried) -> None:
        """Carry everything out. What can never be stored ends it: ``done`` is told why, the rest is not done.

        Args:
            after: what to do.
            who: it follows from, for the log.
            done: called once; maybe from within this call.
        """
        messages, records, parts, chords = after
        if self._by_message and len(records) == 1 and not (messages or parts or chords):  # what mostly follows
            self.answer(records[0], who, done)
        else:
            _Carrying(self, after, who, done).begin()

    def carry_rest(self, after: After, who: str, done: Callable[[], None]) -> None:
        """Carry out what can be, and log what can't."""
        _Carrying(self, after, who, lambda _: done(), lenient=True).begin()

    def report(self, records: Sequence[Record]) -> None:
        """Store states of running tasks; nobody waits for it."""
        if not self._by_message:
            self._storing.report(records)
            return
        for record in records:
            self.answer(record, "A running task", lambda _: None)

    def begin(self, chords: Sequence[Begin], key: str, who: str, done: Callable[[], None]) -> None:
        """Make chords known to whoever counts them.

        Args:
            chords: at least one.
            key: for idempotency; equal for repetitions of the same message, different otherwise.
            who: begins them, for the log.
            done: called once.
        """
        left = len(chords)

        def begun() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for at, chord in enumerate(chords):
            self.beginner.begin(chord, f"{key}:{at}", who, begun)

    # ---- single steps, for _Carrying

    def send(self, after: After, who: str, one_done: Carried) -> None:
        """Publish all messages; ``one_done`` is called for each."""
        for message in after.messages:
            self._patient.publish(message, who, one_done, grace=_GRACE)

    def answers(self, after: After) -> int:
        """How often :meth:`store` will call back."""
        return len(after.records) if self._by_message else 1

    def store(self, after: After, who: str, one_done: Carried) -> None:
        """Store the records, or send them to their callers."""
        if not self._by_message:
            self._storing.store(after.records, one_done)
            return
        for record in after.records:
            self.answer(record, who, one_done)

    def answer(self, record: Record, who: str, done: Carried) -> None:
        """Answer a caller; one that is gone has been answered."""
        message = answer(record, persistent=self._persistent)
        if message is None:
            done(None)
            return

        def published(error: Exception | None) -> None:
            if isinstance(error, Unroutable):
                logger.debug("%s: its caller is gone, so is its result", who)
                error = None
            done(error)

        self._patient.publish(message, who, published, grace=NO_GRACE)


class _Carrying:
    """One :class:`After` on its way."""

    __slots__ = ("_after", "_carrier", "_done", "_error", "_left", "_lenient", "_who")

    def __init__(self, carrier: Carrier, after: After, who: str, done: Carried, *, lenient: bool = False) -> None:
        self._carrier, self._after, self._who, self._done = carrier, after, who, done
        self._lenient = lenient
        self._left = 0
        self._error: Exception | None = None

    def begin(self) -> None:
        """The first step."""
        if self._after.chords:
            self._carrier.begin(self._after.chords, self._who, self._who, self._messages)
        else:
            self._messages()

    def _messages(self) -> None:
        after = self._after
        if not after.messages:
            self._records()
            return
        self._left = len(after.messages)
        self._carrier.send(after, self._who, lambda error: self._step(error, self._records))

    def _records(self) -> None:
        after = self._after
        if not after.records:
            self._parts()
            return
        self._left = self._carrier.answers(after)
        self._carrier.store(after, self._who, lambda error: self._step(error, self._parts, self._unkept))

    def _unkept(self) -> None:
        """A result can't be kept, but what follows from it is on its way: the task has not failed, its result has."""
        after, error = self._after, self._error
        if error is None or not after.messages:
            self._done(error)
            return
        logger.error("%s: its result can't be kept, though what follows from it was sent: %s", self._who, error)
        records = tuple(self._carrier.instead(record, error) for record in after.records)
        self._after, self._error = After(records=records, parts=after.parts), None
        self._records()

    def _parts(self) -> None:
        after = self._after
        if not after.parts:
            self._done(None)
            return
        self._left = len(after.parts)
        for part in after.parts:
            self._carrier.counter.count(part, self._who, lambda: self._step(None, lambda: self._done(None)))

    def _step(
        self, error: Exception | None, then: Callable[[], None], failed: Callable[[], None] | None = None
    ) -> None:
        self._left -= 1
        if error is not None and self._lenient:
            logger.error("%s: left out, because it can never be stored: %s", self._who, error)
        elif error is not None and self._error is None:
            self._error = error
        if self._left:
            return
        if self._error is None:
            then()
        elif failed is not None:
            failed()
        else:
            self._done(self._error)
