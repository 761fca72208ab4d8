"""What may stand between a waiting delivery and its start, and who is told of its life. Owns both contracts.

Rate limits, limits of concurrency and revocations are gates; events, signals and statistics are observers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect


class Gate(Protocol):
    """Lets deliveries through to the pool, or keeps them. Lives on the I/O thread."""

    def admit(self, delivery: Delivery) -> bool:
        """Whether it may start now.

        Otherwise this gate has taken it, and gives it to ``Custody.readmit`` when it may start (it is asked again then,
        as are the others), or to ``Custody.finish`` when it never will.
        """

    def clear(self) -> list[Delivery]:
        """Give up everything that is kept: the channel is gone, or the worker ends."""


class Observer:
    """Told of every delivery's life on the I/O thread; override what matters. Must be quick and never raise.

    What an instance has instead of its class's counts too, if it has it when it is added.
    """

    def received(self, delivery: Delivery) -> None:
        """It has arrived, and is new."""

    def started(self, delivery: Delivery) -> None:
        """It was handed to the pool; its slot begins it within milliseconds."""

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:
        """It has ended, this way, and what follows is about to be stored; or it never starts, as revoked ones."""

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:
        """The process that ran it is gone; it runs again, or is dead-lettered (``effect.dead``)."""

    def unsendable(self, delivery: Delivery, kind: int | None, effect: Effect) -> None:
        """What follows from it, or its next attempt, can never be stored: so it has failed and is dead-lettered.

        Args:
            delivery: that was told of by :meth:`ended`, :meth:`lost` or :meth:`gone`; of the worker's own by none.
            kind: of the outcome that was told by :meth:`ended`; else None.
            effect: its dead letter; ``effect.lost`` says why.
        """

    def gone(self, delivery: Delivery) -> None:
        """It is handed back, started or not, or was started and runs again elsewhere; maybe told more than once."""

    def settled(self, delivery: Delivery) -> None:
        """What follows from it is stored."""


class Observers:
    """All who are told. Of what happens to each delivery only those who do something then: it happens often.

    Attributes:
        received, started, ended, settled: methods of observers, to be called with what the method of this name takes.
    """

    def __init__(self) -> None:
        self._all: list[Observer] = []
        self.received: list[Callable[[Delivery], None]] = []
        self.started: list[Callable[[Delivery], None]] = []
        self.ended: list[Callable[[Delivery, Outcome, Effect], None]] = []
        self.settled: list[Callable[[Delivery], None]] = []

    def append(self, observer: Observer) -> None:
        """From now on this one is told too, after the others."""
        self._all.append(observer)
        for name in ("received", "started", "ended", "settled"):
            method = getattr(observer, name)  # of its class, or its own
            if getattr(method, "__func__", None) is not getattr(Observer, name):
                getattr(self, name).append(method)

    def __iter__(self) -> Iterator[Observer]:
        return iter(self._all)
