"""Tells the scheduler when a run of a periodic task has ended that must not overlap with the next one.

Owns that message. Only entries whose ``overlap`` is not ``allow`` ask for it, by a header of their messages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.execution.job import Kind
from amqtask.schedules.records import HEADER, REPORT, record_message
from amqtask.wire.signing import Signer
from amqtask.worker.gates import Observer
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.errors import BrokerError, EncodeError
    from amqtask.execution.job import Outcome
    from amqtask.worker.delivery import Delivery
    from amqtask.worker.outcome import Effect

logger = logging.getLogger("amqtask.worker")

_GOES_ON = frozenset({Kind.RETRY, Kind.REQUEUE, Kind.UNKNOWN_TASK, Kind.EARLY})
"""Ends after which the task is tried again, unless it is dead-lettered."""


class ScheduledRuns(Step, Observer):
    """Watches for the header."""

    def start(self) -> None:  # noqa: D102 -- as Step says
        self._signer = Signer(self.worker.app.settings)
        self.worker.custody.observers.append(self)

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: D102 -- as Observer says
        if outcome.kind not in _GOES_ON or effect.dead:
            self._tell(delivery)

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: ARG002, D102
        if effect.dead:
            self._tell(delivery)

    def _tell(self, delivery: Delivery) -> None:
        mark = (delivery.properties.headers or {}).get(HEADER)
        if not isinstance(mark, dict) or not isinstance(queue := mark.get(REPORT), str):
            return
        message = record_message(queue, "ended", {"entry": mark.get("entry"), "id": delivery.id})
        message = message._replace(properties=self._signer.sign(message.properties, message.body))

        def done(error: BrokerError | EncodeError | None) -> None:
            if error is not None:
                logger.error("The scheduler was not told that %s[%s] has ended: %s", delivery.name, delivery.id, error)

        self.worker.outbox.publish(message, self.worker.app.settings.broker_confirm_timeout, done)


STEP = ScheduledRuns
