"""The order of ending: nothing new, nothing lost, then out.

Owns the sequence of a warm shutdown and its short cut, the cold one:

    cancel consumers ─► hand back what has not started ─► wait for running tasks, at most the grace time
      ─► stop stragglers and hand them back ─► close the channel (its answer proves that all acks arrived)
      ─► steps say goodbye ─► close connections ─► end of the I/O loop

Heartbeats go on until the end: the I/O loop runs all the time.
"""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop
    from amqtask.broker.link import Link
    from amqtask.broker.publisher import Publisher
    from amqtask.worker.consumer import Consumers
    from amqtask.worker.custody.custody import Custody
    from amqtask.worker.pools.base import Pool

logger = logging.getLogger(__name__)

_ANSWER = 2.0
"""Seconds to wait for each answer of the broker on the way out."""


class _Phase(IntEnum):
    """Where it is, in the order of the module's drawing; it never goes back."""

    RUNNING = 0
    CANCELLING = 1  # of consumers
    DRAINING = 2  # running tasks may finish
    STOPPING = 3  # they are stopped
    CLOSING = 4  # of the channel
    LEAVING = 5  # steps say goodbye
    CLOSED = 6  # of the connections


class Shutdown:
    """Ends a worker. Lives on the I/O thread; :meth:`warm` and :meth:`cold` may be called in any state.

    Args:
        loop: of the I/O thread; stopped at the end.
        consumers, custody, pool, link, publisher: what there is to end.
        grace: seconds that running tasks have.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        consumers: Consumers,
        custody: Custody,
        pool: Pool,
        link: Link,
        publisher: Publisher,
        grace: float,
    ) -> None:
        self._loop, self._consumers, self._custody = loop, consumers, custody
        self._pool, self._link, self._publisher, self._grace = pool, link, publisher, grace
        self._phase = _Phase.RUNNING
        self._timer: object | None = None
        self.how, self.cause = "Warm", ""
        """Kind of the end, ``Warm`` or ``Cold``, and the signal that has asked for it, if one has."""
        self.on_begin: Callable[[], None] = lambda: None
        """Called when a shutdown begins."""
        self.on_end: Callable[[Callable[[], None]], None] = lambda done: done()
        """Called when nothing runs any more, while the connection stands; the end goes on when it calls back."""
        self.stopped: list[str] = []
        """Tasks that had started and did not end in time, as ``name[id]``; handed back, unless acked early."""

    def warm(self) -> None:
        """Begin a warm shutdown; harmless when one has begun."""
        if self._phase > _Phase.RUNNING:
            return
        self._phase = _Phase.CANCELLING
        self.on_begin()
        self._within(_ANSWER, self._drain)
        self._consumers.cancel_all(self._drain)

    def cold(self) -> None:
        """Stop running tasks now and hand their messages back; harmless when that has happened."""
        self.how = "Cold"
        if self._phase < _Phase.CANCELLING:
            self._phase = _Phase.CANCELLING
            self.on_begin()
            self._consumers.cancel_all(lambda: None)
        self._drain()
        self._stop_running()

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Go on like this unless the next phase has begun by then."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
        self._timer = self._loop.call_later(seconds, otherwise)

    def _drain(self) -> None:
        if self._phase >= _Phase.DRAINING:
            return
        self._phase = _Phase.DRAINING
        custody = self._custody
        custody.on_idle = self._idle
        custody.drain()
        if custody.busy:
            logger.info("Waiting up to %gs for %d running tasks", self._grace, custody.busy)
        self._within(self._grace, self._stop_running)

    def _idle(self) -> None:
        if self._phase in (_Phase.DRAINING, _Phase.STOPPING):
            self._close_pool()

    def _stop_running(self) -> None:
        if self._phase >= _Phase.STOPPING:
            return
        self._phase = _Phase.STOPPING
        self._pool.terminate()
        left = self._custody.give_up()
        self.stopped = [f"{delivery.name}[{delivery.id}]" for delivery in left]
        for name, delivery in zip(self.stopped, left, strict=True):
            what = "will not run again: it was acked early" if delivery.early else "handed back"
            logger.warning("Task %s was stopped and %s", name, what)
        self._within(_ANSWER, self._close_pool)
        self._custody.schedule_turn()

    def _close_pool(self) -> None:
        if self._phase >= _Phase.CLOSING:
            return
        self._phase = _Phase.CLOSING
        self._pool.close()
        self._within(_ANSWER, self._take_leave)
        self._consumers.close_channel(self._take_leave)

    def _take_leave(self) -> None:
        if self._phase >= _Phase.LEAVING:
            return
        self._phase = _Phase.LEAVING
        self._within(_ANSWER, self._close_link)
        self.on_end(self._close_link)

    def _close_link(self) -> None:
        if self._phase >= _Phase.CLOSED:
            return
        self._phase = _Phase.CLOSED
        self._within(2 * _ANSWER, self._loop.stop)
        self._link.stop(lambda: self._publisher.stop(self._loop.stop))
