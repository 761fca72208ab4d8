"""Confirm before ack: carries out what follows from an outcome, and releases the delivery only then.

Owns deliveries between the end of their task and their ack. First comes what follows from the task, then the message
of the settlement itself (next attempt, dead letter): as long as the former can't be stored, this delivery is the only
one there is of the task. Of one that is acked already nobody else has a copy, so there it is the other way round.
Should this process die meanwhile, the broker still has the message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amqtask.execution.job import Kind, Outcome
from amqtask.worker.custody import narrate
from amqtask.worker.deliveries.outcome import UNSENDABLE, Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.worker.custody.gates import Observer
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.followups.carrier import Carrier
    from amqtask.worker.followups.losses import Losses
    from amqtask.worker.followups.patient import Patient


class Settler:
    """Carries out effects. Lives on the I/O thread.

    Args:
        patient: publishes.
        carrier: carries out what follows from tasks.
        losses: knows what follows when the pool does not.
        settled: called once per delivery, when everything that follows from it is stored.
        observers: told when that can never be; the list may still grow.
    """

    def __init__(
        self,
        patient: Patient,
        carrier: Carrier,
        losses: Losses,
        settled: Callable[[Delivery], None],
        observers: Iterable[Observer] = (),
    ) -> None:
        self.patient, self.carrier, self.losses = patient, carrier, losses
        self.observers = observers
        self._settled = settled
        self._pending: dict[int, _Settling] = {}

    def __len__(self) -> int:
        """How many deliveries wait for something to be stored."""
        return len(self._pending)

    def settle(self, delivery: Delivery, effect: Effect, kind: int | None = None) -> None:
        """Carry out an effect, then release the delivery.

        Args:
            delivery: that has ended, or goes back.
            effect: what follows.
            kind: of its outcome; None when there was none.
        """
        if effect.message is None and effect.after is None and effect.lost is None:
            self._settled(delivery)
            return
        settling = self._pending[delivery.key] = _Settling(self, delivery, effect, kind)
        settling.begin()

    def release(self, delivery: Delivery) -> None:
        """Everything is stored."""
        del self._pending[delivery.key]
        self._settled(delivery)


class _Settling:
    """A delivery whose effect is not stored yet."""

    __slots__ = ("_delivery", "_effect", "_kind", "_settler", "_who")

    def __init__(self, settler: Settler, delivery: Delivery, effect: Effect, kind: int | None) -> None:
        self._settler, self._delivery, self._effect, self._kind = settler, delivery, effect, kind
        self._who = f"Task {delivery.name}[{delivery.id}]"

    def begin(self) -> None:
        if self._delivery.early:
            self._publish(lambda: self._carry(self._release))
        else:
            self._carry(lambda: self._publish(self._release))

    def _release(self) -> None:
        self._settler.release(self._delivery)

    def _carry(self, then: Callable[[], None]) -> None:
        effect, carrier = self._effect, self._settler.carrier
        if effect.after is not None and effect.message is None:
            carrier.carry(effect.after, self._who, lambda error: self._carried(error, then))
        elif effect.after is not None:
            carrier.carry_rest(effect.after, self._who, then)
        elif effect.lost is not None:
            self._settler.losses.ask(
                self._delivery, effect.lost, lambda after: carrier.carry_rest(after, self._who, then)
            )
        else:
            then()

    def _carried(self, error: Exception | None, then: Callable[[], None]) -> None:
        if error is None:
            then()
        else:
            self._fail(error)

    def _publish(self, then: Callable[[], None]) -> None:
        effect = self._effect
        if effect.message is None:
            then()
            return

        def published(error: Exception | None) -> None:
            if error is None:
                then()
            elif effect.dead and effect.slim is not None:
                self._effect = replace(effect, message=effect.slim(str(error)), slim=None)
                self._publish(then)
            else:
                self._fail(error)

        self._settler.patient.publish(effect.message, self._who, published, last=effect.slim is None)

    def _fail(self, error: Exception) -> None:
        """What follows from a success, or a next attempt, can never be sent: the task has failed after all."""
        slim, text, kind = self._effect.slim, str(error), type(error)
        assert slim is not None
        narrate.unsendable(self._delivery, text)
        described = (f"{kind.__module__}.{kind.__qualname__}", text, "")
        lost = Outcome(self._delivery.key, Kind.FAILED, text=text, error=described)
        effect = self._effect = Effect(slim(text), dead=UNSENDABLE, lost=lost)
        for observer in self._settler.observers:
            observer.unsendable(self._delivery, self._kind, effect)
        self.begin()
