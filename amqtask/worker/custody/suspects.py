"""Redelivered messages, which may have killed their worker: each is cleared, marked or found guilty before it starts.

Owns who waits for whom; the verdict itself is :mod:`amqtask.worker.deliveries.crashes`'. Lives on the I/O thread.

    fit? ──► yes: it starts
      ├─► mark: sent again with one more death in its headers; the copy is held until its original is acked
      │     └─► the last chance: one suspect at a time is on trial, the others wait here, unmarked
      └─► dead: dead-lettered as a crash loop
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from amqtask.worker.deliveries import acks
from amqtask.worker.deliveries.crashes import Held, judge

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from amqtask.broker.interface import Loop
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect, Effects

_TRIAL = 1.0
"""Seconds that suspects of killing their worker wait for one that was sent again before them."""


class Keeper(Protocol):
    """What is asked of the custody that these messages are in."""

    def settle_unstarted(self, delivery: Delivery, effect: Effect) -> None:
        """It never starts here: have the effect stored, then ack it."""

    def lose_unstarted(self, delivery: Delivery, effect: Effect, reason: str) -> None:
        """The same; and the log and the observers are told that a process was lost."""

    def retry(self, deliveries: Sequence[Delivery]) -> None:
        """In this turn, judge these again, and what :meth:`Suspects.is_early_copy` has held back."""


class Suspects:
    """Suspects take their last chance one after the other: the others must not be held, marked, when one kills.

    Whoever holds a marked message when its worker dies is guilty on its return. So while one that was marked is on
    its way through the queue and runs, the next one waits here, unmarked.

    Args:
        loop: of the I/O thread.
        effects: makes copies and dead letters.
        lost_max: deliveries without a settlement after which a message counts as a crash loop.
        keeper: carries out the verdicts.

    Attributes:
        copies: key of a marked message -> message id of its copy, until the former is acked: both must not exist
            when the copy starts, and kills.
    """

    def __init__(self, loop: Loop, effects: Effects, lost_max: int, keeper: Keeper) -> None:
        self._loop, self._effects, self._lost_max, self._keeper = loop, effects, lost_max, keeper
        self.copies: dict[int, str | None] = {}
        self.counting: Collection[str] = ()
        """Queues in which the broker counts deliveries: those of type quorum."""
        self._unstarted = Held()
        self._waiting: list[Delivery] = []
        self._on_trial: str | None = None

    def lose(self, delivery: Delivery) -> None:
        """A delivery that this worker had not started is the broker's again: no death of a worker."""
        self._unstarted.lose(delivery)

    def excuses(self, delivery: Delivery) -> bool:
        """Whether a delivery that has just arrived was lost by :meth:`lose`; asked once for each."""
        return self._unstarted.excuses(delivery)

    def is_early_copy(self, delivery: Delivery) -> bool:
        """Whether the message that this one was copied from is not acked yet."""
        return delivery.properties.message_id in self.copies.values()

    def fit(self, delivery: Delivery) -> bool:
        """Whether a redelivered message may run now; if not, it is taken over."""
        verdict = judge(delivery, self._lost_max, counting=delivery.queue in self.counting)
        if verdict.action == "run":
            return True
        if verdict.action == "dead":
            reason = "the worker that ran it went away"
            effect = self._effects.crash_loop(delivery, verdict.lost, reason)
            self._keeper.lose_unstarted(delivery, effect, reason)
        elif verdict.lost < self._lost_max - 1:
            self._mark(delivery, verdict.lost)
        elif self._on_trial is not None:
            self._waiting.append(delivery)
        else:
            self._on_trial = message_id = self._mark(delivery, verdict.lost)
            # one that waits behind others, runs elsewhere or runs well keeps nobody waiting for longer
            self._loop.call_later(_TRIAL, lambda: self._end_trial(message_id))
        return False

    def _mark(self, delivery: Delivery, lost: int) -> str | None:
        """Send a suspect again with this count of deaths; returns the message id of the copy."""
        effect = self._effects.marked(delivery, lost)
        assert effect.message is not None
        message_id = self.copies[delivery.key] = effect.message.properties.message_id
        self._keeper.settle_unstarted(delivery, effect)
        return message_id

    def settled(self, delivery: Delivery) -> None:
        """Everything that follows from a delivery is stored, and its ack is about to be written."""
        if self._on_trial is not None:
            self._end_trial(delivery.properties.message_id)
        if delivery.key in self.copies:
            self._loop.call_later(2 * acks.DELAY, lambda: self._release(delivery.key))

    def _end_trial(self, message_id: str | None) -> None:
        """If this is the copy on trial, the next suspect may have its trial."""
        if message_id is not None and message_id == self._on_trial:
            self._keeper.retry(self.clear())

    def _release(self, key: int) -> None:
        """The ack of a marked message is on its way: its copy may start."""
        self.copies.pop(key, None)
        self._keeper.retry(())

    def clear(self) -> list[Delivery]:
        """Nobody is on trial any more; returns those that waited."""
        waiting, self._waiting, self._on_trial = self._waiting, [], None
        return waiting
