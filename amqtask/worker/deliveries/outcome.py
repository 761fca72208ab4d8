"""What follows from each way a job can end: a table from outcome to effect (sans I/O).

Owns the decision only. An effect is what follows from the task (``Outcome.after``: callbacks, results, parts of
chords) and at most one message of its own, all of it stored before the delivery is acked; all effects end with that
ack. Nothing is refused with nack or reject: the reason would be lost.

    SUCCESS, IGNORED                            ack
    RETRY                                       next attempt  → Q.retry.<ms> or the delay ladder, ack
    REQUEUE                                     the same      → Q, ack
    FAILED, REJECTED, EXPIRED, UNDECODABLE,
    REFUSED, TIMED_OUT, crash loop              dead letter   → Q.dead, ack
    REVOKED                                     ack; its result says so
    those that the settings drop                the same
    UNKNOWN_TASK                                the same, parked with a growing delay; at last Q.dead, ack
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError
from amqtask.execution.job import Kind, Outcome
from amqtask.topology.delays import LONGEST, dead_name, retry_target
from amqtask.wire.dead_headers import LOST, PARKED
from amqtask.worker.deliveries.republish import again, dead_letter, lost_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.execution.job import After
    from amqtask.topology.declarations import Queue
    from amqtask.wire.message import Outgoing
    from amqtask.worker.deliveries.delivery import Delivery

DEAD_REASONS = {
    Kind.FAILED: "failed",
    Kind.REJECTED: "rejected",
    Kind.EXPIRED: "expired",
    Kind.UNKNOWN_TASK: "unknown_task",
    Kind.UNDECODABLE: "undecodable",
    Kind.REFUSED: "refused_content",
    Kind.TIMED_OUT: "time_limit",
}
WORKER_LOST = "worker_lost"
UNSENDABLE = "unsendable"


@dataclass(frozen=True, slots=True)
class Effect:
    """What must happen before a delivery is acked.

    Attributes:
        message: to be published and confirmed first; None: just ack.
        slim: makes the dead letter to send instead, should the message prove unsendable; told why.
        dead: the reason when the message is a dead letter, else an empty text.
        delay: seconds until the next attempt, when there is one.
        after: results and callbacks, stored before the message, unless the delivery is acked already.
        lost: the end of a task of which nobody has said yet what follows from it, if ``after`` is None.
    """

    message: Outgoing | None = None
    slim: Callable[[str], Outgoing] | None = None
    dead: str = ""
    delay: float | None = None
    after: After | None = None
    lost: Outcome | None = None


NOTHING = Effect()


def dropped_kinds(settings: Settings) -> frozenset[Kind]:
    """The ends whose messages the settings want acked instead of dead-lettered."""
    chosen = {Kind.FAILED: settings.task_acks_on_failure, Kind.TIMED_OUT: settings.task_acks_on_timeout}
    return frozenset(kind for kind, wanted in chosen.items() if wanted)


class Effects:
    """The table. Not thread-safe, has no state of its own.

    Args:
        queue_of: name -> declaration of a consumed queue.
        hostname: this worker's node name.
        park_delays: seconds to park an unknown task for, one entry per time; empty: dead-letter at once.
        lost_max: deaths of workers or children after which a message is dead-lettered.
        dropped: ends whose messages are acked where others are dead-lettered.
    """

    def __init__(
        self,
        queue_of: Callable[[str], Queue],
        hostname: str,
        park_delays: Sequence[float],
        lost_max: int,
        dropped: Collection[Kind] = (),
    ) -> None:
        self._queue_of, self._hostname, self._dropped = queue_of, hostname, dropped
        self._park_delays, self._lost_max = park_delays, lost_max

    def of(self, delivery: Delivery, outcome: Outcome) -> Effect:
        """The effect of an outcome."""
        kind = outcome.kind
        if kind <= Kind.IGNORED:
            if outcome.after is None:
                return NOTHING
            return Effect(slim=self._unsendable(delivery, "what follows from it"), after=outcome.after)
        if kind == Kind.REVOKED:
            slim = self._unsendable(delivery, "what follows from it")
            return Effect(slim=slim, after=outcome.after, lost=None if outcome.after else outcome)
        if kind == Kind.REQUEUE:
            return Effect(again(delivery, "", delivery.queue), self._unsendable(delivery), after=outcome.after)
        later = {Kind.RETRY: self._retry, Kind.EARLY: self._wait, Kind.UNKNOWN_TASK: self._park}.get(Kind(kind))
        if later is None:
            later = self._drop if kind in self._dropped else self._bury
        return later(delivery, outcome)

    def of_loss(self, delivery: Delivery, reason: str) -> Effect:
        """The effect of a child that died running this delivery."""
        lost = lost_count(delivery) + 1
        if lost >= self._lost_max or delivery.early:
            return self.crash_loop(delivery, lost, reason)
        return self.marked(delivery, lost)

    def marked(self, delivery: Delivery, lost: int) -> Effect:
        """The same message again, with this count of deaths in its header."""
        return Effect(again(delivery, "", delivery.queue, {LOST: lost or None}), self._unsendable(delivery))

    def crash_loop(self, delivery: Delivery, times: int, reason: str) -> Effect:
        """The effect of a message that has killed its worker or child too often."""
        text = f"the process running it died {times} time{'' if times == 1 else 's'}; last: {reason}"
        return self._dead(delivery, Outcome(delivery.key, Kind.FAILED, text=text), WORKER_LOST)

    def _drop(self, delivery: Delivery, outcome: Outcome) -> Effect:
        lost = None if _told(outcome) else outcome
        return Effect(slim=self._unsendable(delivery, "what follows from it"), after=outcome.after, lost=lost)

    def _bury(self, delivery: Delivery, outcome: Outcome) -> Effect:
        return self._dead(delivery, outcome, DEAD_REASONS[Kind(outcome.kind)])

    def _retry(self, delivery: Delivery, outcome: Outcome) -> Effect:
        if outcome.after is not None and outcome.after.messages:  # one with options: it is among what follows
            return Effect(slim=self._unsendable(delivery), delay=outcome.delay, after=outcome.after)
        try:
            delay = timedelta(seconds=outcome.delay)
            target = retry_target(self._queue_of(delivery.queue), delay, outcome.exact)
        except (ConfigError, ValueError, OverflowError) as error:  # the task has asked for it: too long, or no number
            failed = Outcome(delivery.key, Kind.FAILED, text=str(error), error=outcome.error)
            return Effect(self._unsendable(delivery)(str(error)), dead=UNSENDABLE, lost=failed)
        changes = {"eta": None, LOST: None, **(outcome.headers or {}), **target.headers}
        message = again(delivery, target.exchange, target.routing_key, changes, outcome.body)
        return Effect(message, self._unsendable(delivery), delay=outcome.delay, after=outcome.after)

    def _wait(self, delivery: Delivery, outcome: Outcome) -> Effect:
        """Until a task is due its message waits in the broker; Celery's clients leave that to workers.

        It comes back early once more when that is longer than the broker can hold it.
        """
        delay = min(timedelta(seconds=outcome.delay), LONGEST)
        target = retry_target(self._queue_of(delivery.queue), delay, exact=False)
        message = again(delivery, target.exchange, target.routing_key, target.headers)
        return Effect(message, self._unsendable(delivery), delay=outcome.delay)

    def _park(self, delivery: Delivery, outcome: Outcome) -> Effect:
        parked = (delivery.properties.headers or {}).get(PARKED, 0)
        times = max(parked, 0) if isinstance(parked, int) else 0
        if times >= len(self._park_delays):
            return self._dead(delivery, outcome, DEAD_REASONS[Kind.UNKNOWN_TASK])
        delay = self._park_delays[times]
        target = retry_target(self._queue_of(delivery.queue), timedelta(seconds=delay), exact=False)
        changes = {PARKED: times + 1, **target.headers}
        message = again(delivery, target.exchange, target.routing_key, changes)
        return Effect(message, self._unsendable(delivery), delay=delay)

    def later(self, delivery: Delivery, delay: timedelta, headers: Mapping[str, object]) -> Effect:
        """The same message once more after a delay, with changes to its headers."""
        target = retry_target(self._queue_of(delivery.queue), delay, exact=False)
        return Effect(again(delivery, target.exchange, target.routing_key, {**headers, **target.headers}))

    def _dead(self, delivery: Delivery, outcome: Outcome, reason: str) -> Effect:
        def build(slim: bool) -> Outgoing:
            return dead_letter(
                delivery,
                dead_name(delivery.queue),
                reason,
                text=outcome.text,
                error=outcome.error,
                worker=self._hostname,
                slim=slim,
            )

        lost = None if _told(outcome) else outcome
        return Effect(build(False), lambda _: build(True), dead=reason, after=outcome.after, lost=lost)

    def _unsendable(self, delivery: Delivery, what: str = "its next attempt") -> Callable[[str], Outgoing]:
        """For a next attempt whose headers leave no room for what it adds to them, and other things too large."""

        def build(text: str) -> Outgoing:
            outcome = Outcome(delivery.key, Kind.FAILED, text=f"{what} can't be sent: {text}")
            effect = self._dead(delivery, outcome, UNSENDABLE)
            assert effect.slim is not None
            return effect.slim(text)

        return build


def _told(outcome: Outcome) -> bool:
    """Whether somebody has said what follows: of what has ended by itself, the executor has."""
    return outcome.after is not None or (bool(outcome.runtime) and outcome.kind != Kind.TIMED_OUT)
