"""The reply queue on the publisher's connection: declared before anything is published, consumed from the first wait.

Owns the channel for it and its rebuilding on every new connection. Rides on a
:class:`amqtask.broker.publisher.Publisher`; whoever drives the loop also takes the answers in.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.broker import codes, faults
from amqtask.broker.declare import send_step, subject
from amqtask.broker.reply_queue import ACK_PAUSE, PREFETCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop, Method
    from amqtask.broker.reply_queue import ReplyQueue
    from amqtask.errors import AmqtaskError
    from amqtask.wire.message import PropertiesLike

    Told = Callable[[AmqtaskError | None], None]
    Counted = Callable[[int], None]

log = logging.getLogger(__name__)

_PAUSE = 0.1
"""Seconds before a queue that was deleted, or a channel that was closed, is made again."""


class ReplyConsumer:
    """See the module. Not thread-safe: lives on its loop; :attr:`prepared` may be read from anywhere.

    Args:
        loop: of the publisher.
        queue: the queue; its box gets the answers.
        connect: sees to it that there is a connection, at some time.
    """

    def __init__(self, loop: Loop, queue: ReplyQueue, connect: Callable[[], None]) -> None:
        self._loop, self._queue, self._connect = loop, queue, connect
        self._connection: Connection | None = None
        self._stopped = False
        self._channel: Channel | None = None
        self._opening = False
        self._declared_until: float | None = None
        self._refused_on: Connection | None = None
        self.receiving = False
        """Are answers on their way to this consumer?"""
        self._wants_answers = False
        self._preparing: list[Told] = []
        self._waiting: dict[Told, None] = {}
        self._looking: dict[Counted, None] = {}
        self._tag = 0
        self._taken = 0
        self._acking = False

    @property
    def prepared(self) -> bool:
        """Is nothing to be done before a task is sent: does the queue exist, or is it refused on this connection?"""
        return self.exists or (self._refused_on is not None and self._refused_on is self._connection)

    @property
    def exists(self) -> bool:
        """Does the queue exist, as far as this connection knows?"""
        until = self._declared_until
        return until is not None and (self.receiving or clock.monotonic() < until)

    @property
    def waiting(self) -> bool:
        """Does anybody wait for answers?"""
        return bool(self._waiting)

    # -- what callers want ----------------------------------------------------------------------------------------

    def prepare(self, done: Told, *, connect: bool = False) -> None:
        """Have the queue declared; ``done`` follows, also when it was refused, or the connection is lost.

        Without a connection there is nothing to do, unless one is asked for: each new one begins with this.
        """
        if self.prepared or (self._connection is None and not connect):
            done(None)
            return
        self._preparing.append(done)
        if self._connection is None:
            self._connect()
        else:
            self._establish()

    def receive(self, done: Told) -> None:
        """Take answers in, from now on; ``done`` is told only when that is refused. To be ended by :meth:`leave`."""
        self._waiting[done] = None
        self._wants_answers = True
        if self._connection is None:
            self._connect()
        else:
            self._establish()

    def leave(self, done: Told) -> None:
        """Whoever waited waits no more."""
        self._waiting.pop(done, None)

    def look(self, counted: Counted) -> None:
        """Tell how many answers the queue still holds, as soon as they come here: what is under way comes before.

        To be ended by :meth:`look_away`. Somebody has to :meth:`receive` meanwhile.
        """
        self._looking[counted] = None
        if self.receiving:
            self._ask(counted)

    def look_away(self, counted: Counted) -> None:
        """Whoever looked does so no more."""
        self._looking.pop(counted, None)

    def _ask(self, counted: Counted) -> None:
        def answered(frame: Any) -> None:
            if counted in self._looking:
                counted(frame.method.message_count)

        if self._channel is not None and self._channel.is_open:
            self._ack()
            self._channel.queue_declare(self._queue.name, passive=True, callback=answered)

    def delete(self, done: Callable[[], None]) -> None:
        """Delete the queue at the end, if there is a connection; ``done`` may never come."""
        self._stopped = True
        if self._channel is None or not self._channel.is_open or not self._queue.wanted:
            done()
        else:
            # the driver knows the method; the protocol lists only what a worker does
            channel: Any = self._channel
            channel.queue_delete(self._queue.name, callback=lambda _frame: done())

    # -- what the publisher tells (Rider) -------------------------------------------------------------------------

    def connected(self, connection: Connection, then: Callable[[], None]) -> None:
        """There is a new connection. Nothing may be published on it before ``then`` is called."""
        self._connection = connection
        if self._queue.wanted:
            self._preparing.append(lambda _error: then())
            self._establish()
        else:
            then()

    def disconnected(self, error: AmqtaskError, *, final: bool) -> None:
        """The connection is gone, or could not be made; with ``final`` there is no hope for those who wait."""
        self._connection = None
        self._lost()
        preparing, self._preparing = self._preparing, []
        for told in preparing:
            told(None)
        if final:
            self._fail(error)

    def stopped(self) -> None:
        """The publisher is stopping: who waits has to go on elsewhere."""
        self._stopped = True
        self._ack()  # else they come again on the next connection
        for told in list(self._waiting):
            told(None)

    # -- the channel ----------------------------------------------------------------------------------------------

    def _establish(self) -> None:
        connection, channel = self._connection, self._channel
        if connection is None or self._opening:
            return
        if channel is None or not channel.is_open:
            self._opening = True
            connection.open_channel(
                partial(self._opened, connection), lambda code, text: self._closed(connection, code, text)
            )
        elif not self.exists:
            self._declare(channel)
        elif self._wants_answers and not self.receiving:
            self._consume(channel)

    def _opened(self, connection: Connection, channel: Channel) -> None:
        if connection is self._connection:
            self._channel = channel
            channel.add_on_cancel_callback(self._cancelled)
            self._declare(channel)

    def _declare(self, channel: Channel) -> None:
        self._opening = True
        send_step(channel, self._queue.step, lambda _reply: self._declared(channel))

    def _declared(self, channel: Channel) -> None:
        self._opening = False
        self._refused_on = None
        self._declared_until = clock.monotonic() + self._queue.renew_after
        preparing, self._preparing = self._preparing, []
        for told in preparing:
            told(None)
        if self._wants_answers and not self.receiving and channel is self._channel:
            self._consume(channel)

    def _consume(self, channel: Channel) -> None:
        self._opening = True
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(self._queue.name, self._deliver, callback=lambda _reply: self._consuming(channel))

    def _consuming(self, channel: Channel) -> None:
        if channel is self._channel:
            self._opening = False
            self.receiving = True
            for counted in list(self._looking):
                self._ask(counted)

    def _cancelled(self, _frame: Any) -> None:
        if self._stopped:
            return
        log.warning(
            "The queue %s was deleted; it is made again. Answers that were in it or come meanwhile are lost",
            self._queue.name,
        )
        self._declared_until = None
        self.receiving = self._opening = False
        self._later()

    def _closed(self, connection: Connection, code: int, text: str) -> None:
        if connection is not self._connection:
            return
        worked = self.receiving or code == codes.NOT_FOUND  # deleted between declaration and consumption
        self._lost()
        if not code or self._stopped:
            return  # the connection's end follows
        if worked:
            log.warning("The channel of %s was closed: %s %s; opening another", self._queue.name, code, text)
            self._later()
            return
        self._refused_on = connection
        error = faults.declare_refused(code, text, f"the reply {subject(self._queue.step)}")
        preparing, self._preparing = self._preparing, []
        if not self._waiting:
            log.warning("No answers can come: %s", error)
        for told in preparing:
            told(error)
        self._fail(error)

    def _later(self) -> None:
        connection = self._connection
        self._loop.call_later(_PAUSE, lambda: self._establish() if connection is self._connection else None)

    def _lost(self) -> None:
        self._channel = self._declared_until = None
        self.receiving = self._opening = False
        self._tag = self._taken = 0

    def _fail(self, error: AmqtaskError) -> None:
        for told in list(self._waiting):
            told(error)

    # -- answers --------------------------------------------------------------------------------------------------

    def _deliver(self, channel: Channel, method: Method, properties: PropertiesLike, body: bytes) -> None:
        if channel is not self._channel:
            return
        self._queue.take(properties, body)
        self._tag = method.delivery_tag
        self._taken += 1
        if self._taken * 2 >= PREFETCH:
            self._ack()
        elif not self._acking:
            self._acking = True
            self._loop.call_later(ACK_PAUSE, self._ack_due)

    def _ack_due(self) -> None:
        self._acking = False
        self._ack()

    def _ack(self) -> None:
        channel = self._channel
        if self._taken and channel is not None and channel.is_open:
            self._taken = 0
            channel.basic_ack(self._tag, multiple=True)
