"""What follows from a task of which the pool could not say it: its child died, nobody knows it, it can't be read.

Owns asking :mod:`amqtask.execution` about it. The message has to be decoded for that, which is not for the I/O thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from amqtask.execution.job import After, Kind
from amqtask.worker.deliveries.jobs import job_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Error, Job, Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.followups.storing import Storing

logger = logging.getLogger(__name__)


class Followups(Protocol):
    """What is asked of execution."""

    def lost(self, job: Job, kind: Kind, text: str, error: Error | None) -> After:
        """What follows from a job that ended like this without an executor; nothing when it can't be read."""


class Losses:
    """Lives on the I/O thread.

    Args:
        storing: its thread asks.
        followups: is asked; None: nothing follows.
    """

    def __init__(self, storing: Storing, followups: Followups | None) -> None:
        self._storing, self._followups = storing, followups

    def ask(self, delivery: Delivery, outcome: Outcome, then: Callable[[After], None]) -> None:
        """Tell ``then`` what follows from the end of this delivery."""
        followups = self._followups
        if followups is None:
            then(After())
            return

        def answered(after: After | None, error: Exception | None) -> None:
            if error is not None:
                name = f"{delivery.name}[{delivery.id}]"
                logger.error("Task %s: what follows from its end can't be told: %r", name, error)
            then(after or After())

        job, kind = job_of(delivery), Kind(outcome.kind)
        self._storing.run(lambda: followups.lost(job, kind, outcome.text, outcome.error), answered)
