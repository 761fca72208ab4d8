"""Writes the acks of one consume channel at a time. Owns when: as few as possible, and none late.

Which tags may be acked is :class:`~amqtask.worker.deliveries.delivery.Settlements`'. Lives on the I/O thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.deliveries.delivery import Settlements

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Loop
    from amqtask.worker.deliveries.delivery import Delivery

DELAY = 0.005
"""Seconds a finished tag may wait for others: a worker that dies meanwhile has its task run again."""

_HOLD_FRACTION = 8
"""At most one in this many unsettled tags waits behind a gap; with few messages held, none does."""

_FREE_FRACTION = 4
"""With at most one in this many of the messages held that may be, the broker goes on delivering without an ack."""


class Acks:
    """The way back to the broker.

    Args:
        loop: of the I/O thread.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.settlements = Settlements()
        self.channel: Channel | None = None
        """Where acks go; None while there is none."""
        self.window: Callable[[], int] = lambda: 1
        """How many messages the broker sends of any queue without an ack."""
        self._timer: object | None = None

    def write(self, *, all_now: bool) -> None:
        """Write what is due; what may wait is written within :data:`DELAY`.

        Args:
            all_now: nothing may wait for more messages, since none come.
        """
        channel, settlements = self._open_channel(), self.settlements
        if channel is None or not settlements.waiting:
            return
        held = len(settlements)
        hold = 0 if all_now else held // _HOLD_FRACTION
        if not all_now and (settlements.waiting < hold or held * _FREE_FRACTION <= self.window()):
            self._write_later()  # plenty of messages are here or on their way: the broker can wait for a fuller ack
            return
        if acks := settlements.acks(hold):
            channel.basic_acks(acks)
        if settlements.waiting:
            self._write_later()

    def write_all(self) -> None:
        """Write every ack now."""
        channel = self._open_channel()
        if channel is not None and (acks := self.settlements.acks()):
            channel.basic_acks(acks)

    def give_back(self, delivery: Delivery) -> None:
        """Return a message that was not finished to its queue, where it keeps its place."""
        if self.settlements.give_back(delivery.epoch, delivery.tag):
            channel = self._open_channel()
            if channel is not None:  # else its end returns the message
                channel.basic_nack(delivery.tag, requeue=True)

    def _open_channel(self) -> Channel | None:
        return self.channel if self.channel is not None and self.channel.is_open else None

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(DELAY, self._write_rest)

    def _write_rest(self) -> None:
        self._timer = None
        self.write_all()
