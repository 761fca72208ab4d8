"""Publishing that does not give up: what must be stored before an ack is tried again until the broker has it.

Owns the pauses between attempts, and what makes trying again pointless.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from amqtask import clock
from amqtask.errors import AccessRefused, EncodeError, MessageTooLarge, Unroutable
from amqtask.worker.followups.absent import Absent
from amqtask.worker.followups.backlog import backoff

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop, PublishDone
    from amqtask.errors import BrokerError
    from amqtask.wire.message import Outgoing
    from amqtask.worker.followups.absent import Absence
    from amqtask.worker.followups.outbox import Outbox

    Problem = BrokerError | EncodeError

logger = logging.getLogger(__name__)

_UNSENDABLE = (MessageTooLarge, EncodeError)
"""Errors of the message itself: trying again would not help."""


class Grace(NamedTuple):
    """Seconds that the queue of a message may be missing for, counted from the first message that missed it.

    Attributes:
        other: when routing.yaml has no such queue.
        declared: when it has one; or when it is the user who may not publish there.
    """

    other: float
    declared: float


NO_GRACE = Grace(0.0, 0.0)


class Patient:
    """Publishes until it is confirmed. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        outbox: publishes for the worker.
        timeout: seconds to wait for one confirm.
    """

    def __init__(self, loop: Loop, outbox: Outbox, timeout: float) -> None:
        self.loop, self.outbox, self.timeout = loop, outbox, timeout
        self.absent = Absent()

    def publish(
        self, message: Outgoing, who: str, done: PublishDone, *, grace: Grace | None = None, last: bool = False
    ) -> None:
        """Publish a message.

        Args:
            message: what to send.
            who: it follows from, for the log.
            done: told None once it is stored, or why it can never be.
            grace: how long to wait for a queue for it, or for the right to publish there; None: without end.
            last: there is nothing to send instead; keep trying whatever the reason is.
        """
        _Attempts(self, message, who, done, grace, () if last else _UNSENDABLE).begin()


class _Attempts:
    """One message on its way."""

    def __init__(
        self,
        patient: Patient,
        message: Outgoing,
        who: str,
        done: PublishDone,
        grace: Grace | None,
        unsendable: tuple[type[Exception], ...],
    ) -> None:
        self._patient, self._message, self._who = patient, message, who
        self._done, self._grace, self._unsendable = done, grace, unsendable
        self._count = 0

    def begin(self) -> None:
        patient = self._patient

        def settled(error: Problem | None, pause: float | None) -> None:
            if pause is None:
                self._done(error)
            else:
                patient.loop.call_later(pause, publish)

        def published(error: Problem | None) -> None:
            if error is None:
                patient.absent.found(self._message)
            settled(error, None if error is None else self._pause(error))

        def publish() -> None:
            absence = patient.absent.known(self._message, clock.monotonic())
            if absence is None or not self._seconds(absence.error):
                self._count += 1
                patient.outbox.publish(self._message, patient.timeout, published)
            else:
                error, pause = absence.error, self._wait(absence)
                patient.loop.call_later(0, lambda: settled(error, pause))

        publish()

    def _pause(self, error: Problem) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        pause: float | None = backoff(self._count)
        news = True
        if isinstance(error, Unroutable | AccessRefused) and self._is_limited(error):
            if not self._seconds(error):
                return None
            absence = self._patient.absent.missed(self._message, error, clock.monotonic())
            pause = self._wait(absence)
            news = absence.since == absence.asked  # of many messages for one place only the first is told of
        elif isinstance(error, self._unsendable):
            return None
        if pause is not None and news:
            text = "%s: what follows from it can't be stored (%s); the message is kept, next attempt in %.1fs"
            logger.error(text, self._who, error, pause)
        return pause

    def _is_limited(self, error: Unroutable | AccessRefused) -> bool:
        """Whether this error is waited out for some time only. A right may come back, unlike the queue of a caller."""
        return self._grace is not None and (self._grace != NO_GRACE or isinstance(error, Unroutable))

    def _seconds(self, error: Unroutable | AccessRefused, *, crowded: bool = False) -> float:
        """How long to wait until it can be published there, when that is limited."""
        if self._grace is None or self._grace == NO_GRACE:
            return 0.0
        if isinstance(error, AccessRefused) or self._patient.outbox.declared(self._message):
            return self._grace.declared
        return 0.0 if crowded else self._grace.other

    def _wait(self, absence: Absence) -> float | None:
        """Seconds until its place is asked for again."""
        left = self._seconds(absence.error, crowded=absence.crowded) - (clock.monotonic() - absence.since)
        return min(backoff(max(self._count, 1)), left) if left > 0 else None
