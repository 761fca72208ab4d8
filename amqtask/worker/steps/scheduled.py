"""Tells the scheduler when a run of a periodic task has ended that must not overlap with the next one.

Owns that message. Only entries whose ``overlap`` is not ``allow`` ask for it, by a header of their messages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.canvas.starting import STARTS
from amqtask.errors import DecodeError, EncodeError, MessageTooLarge, Unroutable
from amqtask.execution.job import Kind
from amqtask.schedules.records import HEADER, REPORT, record_message
from amqtask.schedules.trust import LogTrust
from amqtask.wire.signing import Signer
from amqtask.worker.custody.gates import Observer
from amqtask.worker.followups.backlog import backoff
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.errors import BrokerError
    from amqtask.execution.job import Outcome
    from amqtask.wire.message import Outgoing
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect

logger = logging.getLogger("amqtask.worker")

_GOES_ON = frozenset({Kind.RETRY, Kind.REQUEUE, Kind.UNKNOWN_TASK, Kind.EARLY})
"""Ends after which the task is tried again, unless it is dead-lettered."""


class ScheduledRuns(Step, Observer):
    """Watches for the header."""

    def start(self) -> None:  # noqa: D102 -- as Step says
        self._signer, self._trust = Signer(self.worker.app.settings), LogTrust(self.worker.app.settings)
        self.worker.custody.observers.append(self)

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: D102 -- as Observer says
        if effect.dead or not _goes_on(delivery, outcome.kind):
            self._tell(delivery)

    def unsendable(self, delivery: Delivery, kind: int | None, effect: Effect) -> None:  # noqa: ARG002, D102
        if kind is None or _goes_on(delivery, kind):
            self._tell(delivery)

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: ARG002, D102
        if effect.dead:
            self._tell(delivery)

    def _tell(self, delivery: Delivery) -> None:
        mark = (delivery.properties.headers or {}).get(HEADER)
        if not isinstance(mark, dict) or not isinstance(queue := mark.get(REPORT), str):
            return
        try:
            self._signer.verify(delivery.properties, delivery.body, any_age=True)
        except DecodeError:  # another client has written the header
            return
        message = record_message(queue, "ended", {"entry": mark.get("entry"), "id": delivery.id})
        self._send(self._trust.signed(message, needed=False), delivery, 1)

    def _send(self, message: Outgoing, delivery: Delivery, attempt: int) -> None:
        """Until it is stored, or pointless: an unacked message that the broker has back runs again, and tells then."""

        def done(error: BrokerError | EncodeError | None) -> None:
            if error is None:
                return
            who = f"{delivery.name}[{delivery.id}]"
            if isinstance(error, Unroutable | MessageTooLarge | EncodeError):
                logger.error("The scheduler was not told that %s has ended: %s", who, error)
            elif not delivery.early and delivery.epoch != self.worker.custody.acks.settlements.epoch:
                logger.info("The scheduler is told that %s has ended when it has run again: %s", who, error)
            else:
                pause = backoff(attempt)
                logger.warning("The scheduler is told that %s has ended in %.1f s: %s", who, pause, error)
                self.worker.loop.call_later(pause, lambda: self._send(message, delivery, attempt + 1))

        self.worker.outbox.publish(message, self.worker.app.settings.broker_confirm_timeout, done)


def _goes_on(delivery: Delivery, kind: int) -> bool:
    """Whether the run goes on after this end, if it is not dead-lettered."""
    started = kind == Kind.IGNORED and delivery.name in STARTS  # what it has started tells by itself
    return started or kind in _GOES_ON


STEP = ScheduledRuns
