"""The worker's log lines about tasks: received, succeeded, retried, failed.

Owns their wording, and when the lines about ends are written: a turn of the loop later, when the caller's answer is on
its way. Each record carries ``task``, ``task_id``, ``queue`` and ``event`` as attributes for the JSON format.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.execution.job import Kind
from amqtask.worker.deliveries.outcome import UNSENDABLE, WORKER_LOST

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop
    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.deliveries.recent import Arrival

logger = logging.getLogger("amqtask.task")

_LATER = {Kind.UNKNOWN_TASK: ("parked; next try", "task-parked"), Kind.EARLY: ("is due", "task-early")}
"""Kind of an outcome -> what a log line says of a message that waits, and its event."""


def _fields(delivery: Delivery, event: str) -> dict[str, object]:
    return {"task": delivery.name, "task_id": delivery.id, "queue": delivery.queue, "event": event}


def received(delivery: Delivery) -> None:
    """A message has arrived."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("Task %s[%s] received", delivery.name, delivery.id, extra=_fields(delivery, "task-received"))


def duplicate(delivery: Delivery, arrival: Arrival) -> None:
    """A message has come again that is done, or still runs here."""
    logger.info(
        "Task %s[%s] came again; it %s here",
        delivery.name,
        delivery.id,
        "still runs" if arrival == "running" else "was done",
        extra=_fields(delivery, "task-duplicate"),
    )


class Ends:
    """Log lines about the ends of jobs. Lives on the I/O thread.

    Args:
        loop: of that thread.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Delivery, Outcome, Effect]] = []

    def add(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:
        """A job has ended, and this is what follows; written in the next turn."""
        if outcome.kind == Kind.SUCCESS and not logger.isEnabledFor(logging.INFO):
            return
        if not self._waiting:
            self._loop.call_soon_threadsafe(self.write)
        self._waiting.append((delivery, outcome, effect))

    def write(self) -> None:
        """Write what waits; to be called when the loop has ended, too."""
        waiting, self._waiting = self._waiting, []
        for end in waiting:
            _ended(*end)


def _ended(delivery: Delivery, outcome: Outcome, effect: Effect) -> None:
    if outcome.kind == Kind.SUCCESS:
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "Task %s[%s] succeeded in %.3fs: %s",
                delivery.name,
                delivery.id,
                outcome.runtime,
                outcome.text,
                extra={**_fields(delivery, "task-succeeded"), "runtime": outcome.runtime},
            )
    elif outcome.kind == Kind.REVOKED:
        extra = _fields(delivery, "task-revoked")
        logger.info("Task %s[%s] revoked: %s", delivery.name, delivery.id, outcome.text, extra=extra)
    elif effect.dead or outcome.kind in (Kind.FAILED, Kind.TIMED_OUT):
        _dead(delivery, outcome, effect)
    elif effect.delay is not None:
        word, event = _LATER.get(Kind(outcome.kind), ("retry", "task-retried"))
        logger.log(
            logging.WARNING if outcome.kind == Kind.UNKNOWN_TASK else logging.INFO,
            "Task %s[%s] %s in %.3gs: %s",
            delivery.name,
            delivery.id,
            word,
            effect.delay,
            outcome.text or _cause(outcome),
            extra=_fields(delivery, event),
        )
    else:
        word, event = ("put back", "task-requeued") if effect.message is not None else ("ignored", "task-ignored")
        logger.info("Task %s[%s] %s", delivery.name, delivery.id, word, extra=_fields(delivery, event))


def _dead(delivery: Delivery, outcome: Outcome, effect: Effect) -> None:
    expected = outcome.kind in (Kind.EXPIRED, Kind.REJECTED)
    traceback = outcome.error[2] if outcome.error and not expected else ""
    logger.log(
        logging.WARNING if expected else logging.ERROR,
        "Task %s[%s] %s after %.3fs: %s%s",
        delivery.name,
        delivery.id,
        f"dead-lettered ({effect.dead})" if effect.dead else "failed, and its message is dropped,",
        outcome.runtime,
        _cause(outcome),
        f"\n{traceback.rstrip()}" if traceback else "",
        extra={**_fields(delivery, "task-failed"), "reason": effect.dead or "dropped"},
    )


def _cause(outcome: Outcome) -> str:
    return f"{outcome.error[0]}: {outcome.error[1]}" if outcome.error else outcome.text


def unsendable(delivery: Delivery, text: str) -> None:
    """What follows from a task, or its next attempt, can never be stored."""
    extra = {**_fields(delivery, "task-failed"), "reason": UNSENDABLE}
    logger.error("Task %s[%s] dead-lettered (%s): %s", delivery.name, delivery.id, UNSENDABLE, text, extra=extra)


def lost(delivery: Delivery, effect: Effect, reason: str) -> None:
    """The process that ran the task is gone."""
    what = f"dead-lettered ({WORKER_LOST})" if effect.dead else "will run again"
    logger.error("Task %s[%s]: %s; %s", delivery.name, delivery.id, reason, what, extra=_fields(delivery, "task-lost"))
