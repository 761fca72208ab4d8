"""Room for others beside the messages that wait for a limit. Owns the rule.

What is parked counts for the prefetch of its queue: without more room, a few messages of a limited task would keep all
others behind them from this worker's slots. Too much room would keep messages from workers that come later. So there
is more only when what is parked fills half of the ordinary window, up to a bound, and for as long as anything waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop
    from amqtask.worker.consumer import Consumers

MORE_MAX = 256
_LINGER = 5.0
"""Seconds for which room stays when nothing is parked any more: a change costs a new consumer."""


class Room:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        consumers: to change.
    """

    def __init__(self, loop: Loop, consumers: Consumers) -> None:
        self._loop, self._consumers = loop, consumers
        self._parked: dict[str, int] = {}
        self._more: dict[str, int] = {}

    def parked(self, queue: str, count: int) -> None:
        """This many messages of a queue wait for a limit."""
        self._parked[queue] = count
        more = self._more.get(queue, 0)
        if count:
            ordinary = self._consumers.consumed.get(queue, 0)
            if more < MORE_MAX and (count - more) * 2 >= ordinary:
                self._set(queue, min(MORE_MAX, max(2 * count, ordinary)))
        elif more:
            self._loop.call_later(_LINGER, lambda: self._shrink(queue))

    def _shrink(self, queue: str) -> None:
        if not self._parked[queue]:
            self._set(queue, 0)

    def _set(self, queue: str, more: int) -> None:
        if more != self._more.get(queue, 0):
            self._more[queue] = more
            self._consumers.make_room(queue, more)
