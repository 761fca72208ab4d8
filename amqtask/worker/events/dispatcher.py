"""Sends the events of one worker: on a channel of its own beside the confirmed publishing, and never in its way.

Owns what waits to be sent. Events are worth little and may be many: when the broker is slow or away a bounded number
waits, and newer ones are dropped and counted. Task events travel in lists, some times a second.

    put ─► buffer ─(0.2 s, or 200)─► encoder's thread ─► outgoing ─► channel, while the socket takes it
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.broker.codes import FIRST_ERROR
from amqtask.broker.transient import TransientChannel
from amqtask.events.event import make, message, routing_key
from amqtask.worker.events.encoding import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop
    from amqtask.errors import BrokerError
    from amqtask.events.event import Event
    from amqtask.wire.lamport import LamportClock
    from amqtask.wire.message import Outgoing
    from amqtask.worker.events.encoding import Body, Noted
    from amqtask.worker.process.threads import NewThread

logger = logging.getLogger("amqtask.events")

WAITING_MAX = 10_000
"""Events that may wait for the broker."""

_PAUSE = 0.2
"""Seconds for which task events are gathered, and between looks at a socket that does not take them."""

_BATCH = 200
"""Task events of one message."""

_WARNING_PAUSE = 60.0
_REOPEN_PAUSE = 5.0


class EventDispatcher:
    """A rider of the worker's publishing connection. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        exchange: of events; declared on every new connection.
        hostname: node name of the worker.
        ticks: the logical clock.
        blocked: whether the broker takes no publishes just now.
        new_thread: makes a real thread where gevent has made greenlets of them.
    """

    waiting = False
    """The connection need not be made again for events alone; a worker does that anyway."""

    def __init__(
        self,
        loop: Loop,
        exchange: str,
        hostname: str,
        ticks: LamportClock,
        blocked: Callable[[], bool],
        new_thread: NewThread = threading.Thread,
    ) -> None:
        self._loop, self._exchange, self._hostname, self._ticks = loop, exchange, hostname, ticks
        self._blocked = blocked
        self._buffer: list[Noted] = []
        self._outgoing: deque[tuple[Outgoing, int]] = deque()
        self._encoder = Encoder(loop, exchange, hostname, self._encoded, new_thread)
        self._channel: TransientChannel | None = None
        self._connection: Connection | None = None
        self._ready = False
        self._timer: object | None = None
        self._looking = False
        self._encoding = 0
        self._on_empty: Callable[[], None] | None = None
        self.waiting_events = 0
        """Task events that were put and not sent yet."""
        self.dropped = 0
        """Task events that were lost, for there were too many."""
        self._warned, self._refusal = -_WARNING_PAUSE, ""
        self.on_return: Callable[[str], None] = lambda _key: None
        """Told the routing key of a mandatory event that nobody listens to."""
        self.on_ready: Callable[[], None] = lambda: None
        """Called when events can be sent, on every new connection."""

    # -- events -----------------------------------------------------------------------------------------------------

    def put(self, kind: str, fields: Event, body: Body | None = None) -> None:
        """Send a task event soon.

        Args:
            kind: its type.
            fields: what it says.
            body: of the message, when the event is to show its arguments.
        """
        if self.waiting_events >= WAITING_MAX:
            self._drop()
            return
        self.waiting_events += 1
        self._buffer.append((make(kind, self._hostname, self._ticks.tick(), fields), body))
        if len(self._buffer) >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_PAUSE, self.flush)

    def send(self, kind: str, fields: Event, *, mandatory: bool = False) -> None:
        """Send an event now; it is lost when there is no connection, or the broker takes nothing.

        Args:
            kind: its type.
            fields: what it says.
            mandatory: tell ``on_return`` when nobody listens.
        """
        tick = self._ticks.tick()
        if self._channel is not None and not self._congested():
            event = make(kind, self._hostname, tick, fields)
            made = message(self._exchange, routing_key(kind), self._hostname, event)
            self._channel.publish(made, mandatory=mandatory)

    def flush(self) -> None:
        """Hand gathered task events to the encoder."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None
        if self._buffer:
            batch, self._buffer = self._buffer, []
            self._encoding += 1
            self._encoder.encode(batch)

    def drain(self, done: Callable[[], None]) -> None:
        """Call back once everything that was put is sent; at once when nothing waits, or nothing can be sent."""
        if not self._ready:
            done()
            return
        self.flush()
        self._on_empty = done
        self._write()

    def stop(self) -> None:
        """End the encoder's thread."""
        self._encoder.stop()

    def _encoded(self, made: Outgoing, count: int) -> None:
        self._encoding -= 1
        self._outgoing.append((made, count))
        self._write()

    def _congested(self) -> bool:
        return not self._ready or self._channel is None or self._channel.congested or self._blocked()

    def _write(self) -> None:
        while self._outgoing and not self._congested():
            made, count = self._outgoing.popleft()
            self.waiting_events -= count
            assert self._channel is not None
            self._channel.publish(made)
        if self._outgoing and self._ready and not self._looking:
            self._looking = True
            self._loop.call_later(_PAUSE, self._look_again)
        if self._on_empty is not None and not self._outgoing and not self._encoding:
            done, self._on_empty = self._on_empty, None
            done()

    def _look_again(self) -> None:
        self._looking = False
        self._write()

    def _drop(self) -> None:
        self.dropped += 1
        if clock.monotonic() - self._warned >= _WARNING_PAUSE:
            self._warned = clock.monotonic()
            logger.warning("the broker takes no events: %d were dropped so far", self.dropped)

    # -- the connection (amqtask.broker.publisher.Rider) --------------------------------------------------------------

    def connected(self, connection: Connection, then: Callable[[], None]) -> None:
        """A new connection: open a channel on it; nobody has to wait for that."""
        self._connection = connection
        self._open(connection)
        then()

    def disconnected(self, error: BrokerError, *, final: bool) -> None:  # noqa: ARG002 -- the contract of a rider
        """It is gone."""
        self._connection, self._channel, self._ready = None, None, False

    def stopped(self) -> None:
        """The publisher ends."""

    def _open(self, connection: Connection) -> None:
        def opened(channel: Channel) -> None:
            channel.exchange_declare(self._exchange, "topic", durable=True, callback=lambda _: declared())

        def declared() -> None:
            if self._channel is made:
                self._ready = True
                self._write()
                self.on_ready()

        def closed(code: int, text: str) -> None:
            if self._channel is made:
                self._channel, self._ready = None, False
            if code >= FIRST_ERROR:
                if text != self._refusal:
                    logger.warning("events can't be sent: the broker closed their channel: %s (%d)", text, code)
                self._refusal = text
                self._loop.call_later(_REOPEN_PAUSE, lambda: self._reopen(connection))

        made = self._channel = TransientChannel(connection, on_open=opened, on_closed=closed, on_return=self.on_return)

    def _reopen(self, connection: Connection) -> None:
        if connection is self._connection and self._channel is None:
            self._open(connection)
