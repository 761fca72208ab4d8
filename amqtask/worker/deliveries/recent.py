"""Recognising messages that the broker delivers again although this worker has them, or has done them (sans I/O).

Owns the memory of what runs and what finished lately. A connection that is cut between the end of a task and its
ack makes the broker deliver the message again; running it twice is what this module prevents, as long as the copy
comes back to the same worker. Only redelivered messages are looked up, by message id: every publish has one of its
own, so a retry or a replay of the same task is never taken for its predecessor.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable

    from amqtask.worker.deliveries.delivery import Delivery

Arrival = Literal["new", "running", "finished"]


class Recent:
    """What runs here and what finished here lately. Not thread-safe; lives on the I/O thread.

    Args:
        window: how many finished attempts are remembered.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._running: dict[Hashable, Delivery] = {}
        self._finished: OrderedDict[Hashable, None] = OrderedDict()

    def arrive(self, delivery: Delivery) -> Arrival:
        """Classify a delivery.

        ``running``: the first copy still runs here and has adopted this delivery's epoch and tag.
        ``finished``: it was done here; ack it and do nothing.
        """
        if not delivery.redelivered:
            return "new"
        first = self._running.get(delivery.identity)
        if first is not None and first.epoch != delivery.epoch:
            first.epoch, first.tag = delivery.epoch, delivery.tag
            return "running"
        return "finished" if delivery.identity in self._finished else "new"

    def start(self, delivery: Delivery) -> None:
        """The task is about to run."""
        self._running.setdefault(delivery.identity, delivery)

    def abandon(self, delivery: Delivery) -> None:
        """It ran, but not to its end; a redelivery must run it again."""
        if self._running.get(delivery.identity) is delivery:
            del self._running[delivery.identity]

    def finish(self, delivery: Delivery) -> None:
        """It ran to its end and everything that follows from it is stored."""
        self.abandon(delivery)
        self._finished[delivery.identity] = None
        if len(self._finished) > self._window:
            self._finished.popitem(last=False)
