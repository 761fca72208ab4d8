"""Answers for blocking callers: the thread that waits drives the connection itself, as one that sends does.

Owns the use of the reply queue through :class:`amqtask.broker.sync.SyncTransport`. Nobody needs a thread for that: an
answer that comes while nobody drives stays in the socket until somebody sends, waits or looks, or until the
transport's keeper comes by.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.broker.reply_consumer import ReplyConsumer
from amqtask.broker.reply_queue import PREPARING
from amqtask.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.publisher import Publisher
    from amqtask.broker.reply_box import ReplyWatch
    from amqtask.broker.reply_queue import ReplyQueue
    from amqtask.broker.sync import SyncTransport
    from amqtask.errors import AmqtaskError

    Finish = Callable[[AmqtaskError | None], None]

log = logging.getLogger(__name__)

_DELETING = 1.0
"""Seconds that the end of the process waits for the queue's deletion."""


class SyncReplies:
    """See the module. Thread-safe; after a fork it serves the child's own queue.

    Args:
        transport: the connection; from now on it declares the queue before it sends.
        queue: the reply queue.
    """

    def __init__(self, transport: SyncTransport, queue: ReplyQueue) -> None:
        self._transport, self._queue = transport, queue
        self._ended = False
        transport.before_sending = self._before_sending
        transport.before_exit = self._before_exit

    @property
    def receiving(self) -> bool:
        """Do answers come to this connection? Then they have to be taken in, whoever waits for them."""
        consumer = self._consumer()
        return consumer is not None and consumer.receiving

    def prepare(self) -> None:
        """Have the queue declared, connecting for that if need be.

        A broker that refuses or can't be reached is reported in the log: the task can run all the same, and whoever
        waits for its result is told then.
        """
        deadline = clock.monotonic() + PREPARING
        while not self._prepared:
            error = self._prepare(deadline, connect=True)
            if error is not None:
                return
            if clock.monotonic() >= deadline:
                log.warning("No answers can come: the reply queue could not be declared in %.0f s", PREPARING)
                return

    def receive(self, watch: ReplyWatch, timeout: float | None) -> None:
        """Wait until the watch has news, or ``timeout`` seconds have passed.

        A connection that is lost is made again, and what was in the queue comes then.

        Raises:
            BrokerError, TopologyError: the broker refuses the connection, the queue or the consumer.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        stays: list[_Stay] = []

        def begin(publisher: Publisher, finish: Finish) -> None:
            stay = _Stay(publisher, self._on(publisher), finish)
            stays.append(stay)
            stay.begin(deadline, None)
            watch.arm(stay.end_soon)

        try:
            while not watch.news and (deadline is None or clock.monotonic() < deadline):
                if self._ended:  # only daemon threads are left; they must not connect again
                    threading.Event().wait(None if deadline is None else deadline - clock.monotonic())
                    break
                error = self._transport.run(begin, repeatable=True)
                if error is not None:
                    raise error
        finally:
            watch.disarm()
            for stay in stays:
                stay.end_soon()

    def pump(self, timeout: float) -> None:
        """Drive the connection for that many seconds if answers come to it; not any longer than it is open."""
        stays: list[_Stay] = []

        def begin(publisher: Publisher, finish: Finish) -> None:
            rider = publisher.rider
            if isinstance(rider, ReplyConsumer) and rider.receiving:
                stays.append(_Stay(publisher, rider, finish))
                stays[0].begin(clock.monotonic() + timeout, None)
            else:
                finish(None)

        if self.receiving:
            self._transport.run(begin)

    def look(self, enough: Callable[[], bool], timeout: float) -> None:
        """Take in what is in the queue, until nothing is left there or ``enough`` says so.

        Raises:
            BrokerUnavailable: no answer from a broker in ``timeout`` seconds.
            BrokerError, TopologyError: the broker refuses the connection, the queue or the consumer.
        """
        deadline = clock.monotonic() + timeout
        late = BrokerUnavailable(f"RabbitMQ has not told within {timeout:g} s what answers there are")
        stays: list[_Stay] = []
        left: int | None = None

        def begin(publisher: Publisher, finish: Finish) -> None:
            consumer = self._on(publisher)
            stay = _Stay(publisher, consumer, finish)
            stays.append(stay)
            stay.begin(deadline, late)

            def counted(count: int) -> None:
                nonlocal left
                left = count
                consumer.look_away(counted)
                stay.end()

            consumer.look(counted)

        try:
            while left != 0 and not enough():
                error = self._transport.run(begin, repeatable=True)
                if error is not None:
                    raise error
        finally:
            for stay in stays:
                stay.end_soon()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _consumer(self) -> ReplyConsumer | None:
        publisher = self._transport.publisher
        rider = None if publisher is None else publisher.rider
        return rider if isinstance(rider, ReplyConsumer) else None

    def _on(self, publisher: Publisher) -> ReplyConsumer:
        """The consumer on this publisher; to be called on its loop."""
        rider = publisher.rider
        if not isinstance(rider, ReplyConsumer):
            rider = ReplyConsumer(publisher.loop, self._queue, publisher.start)
            publisher.ride(rider)
        return rider

    @property
    def _prepared(self) -> bool:
        consumer = self._consumer()
        return consumer is not None and consumer.prepared

    def _prepare(self, deadline: float, *, connect: bool) -> AmqtaskError | None:
        def begin(publisher: Publisher, finish: Finish) -> None:
            once = _once(finish)
            publisher.loop.call_later(max(0.0, deadline - clock.monotonic()), lambda: once(None))
            self._on(publisher).prepare(once, connect=connect)

        return self._transport.run(begin, repeatable=True)

    def _before_sending(self) -> None:
        """Have the queue declared, now or as the first thing on the next connection."""
        if self._queue.wanted and not self._prepared:
            self._prepare(clock.monotonic() + PREPARING, connect=False)

    def _before_exit(self) -> None:
        """Nobody can read the answers any more: leave no queue behind."""
        self._ended = True
        consumer = self._consumer()
        if consumer is None or not consumer.exists:
            return

        def begin(publisher: Publisher, finish: Callable[[None], None]) -> None:
            once = _once(finish)
            publisher.loop.call_later(_DELETING, lambda: once(None))
            self._on(publisher).delete(lambda: once(None))

        self._transport.run(begin)


class _Stay:
    """One thread's wait for answers on one publisher. Lives on its loop; :meth:`end_soon` is for any thread."""

    def __init__(self, publisher: Publisher, consumer: ReplyConsumer, finish: Finish) -> None:
        self._loop, self._consumer, self._finish = publisher.loop, consumer, finish
        self._timer: object = None
        self._ended = False

    def begin(self, deadline: float | None, late: AmqtaskError | None) -> None:
        """Take answers in until :meth:`end`, or until ``deadline`` (monotonic), which is told as ``late``."""
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - clock.monotonic()), lambda: self.end(late))
        self._consumer.receive(self.end)

    def end(self, error: AmqtaskError | None = None) -> None:
        """Let the thread go on; harmless when ended."""
        if not self._ended:
            self._ended = True
            self._loop.cancel(self._timer)
            self._consumer.leave(self.end)
            self._finish(error)

    def end_soon(self) -> None:
        """The same, when the loop comes to it; from any thread."""
        if not self._ended:
            self._loop.call_soon_threadsafe(self.end)


def _once(finish: Callable[..., None]) -> Callable[..., None]:
    """``finish``, but only the first time."""
    called = False

    def first(result: object) -> None:
        nonlocal called
        if not called:
            called = True
            finish(result)

    return first
