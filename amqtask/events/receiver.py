"""Receives events, of amqtask's workers and of Celery's, and hands them to functions. Owns consuming them.

It outlives connections: whatever happens to the broker, events come again once it is back. What was sent meanwhile is
lost, for events are not kept for anybody; unless they are read from the history, where it goes on at its place.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.broker.codes import ACCESS_REFUSED, FIRST_ERROR, PRECONDITION_FAILED
from amqtask.broker.declare import declare_steps
from amqtask.broker.transient import TransientChannel
from amqtask.control.tombstones import has_streams
from amqtask.errors import AccessRefused, BrokerError, BrokerUnavailable
from amqtask.events import history
from amqtask.events.event import read
from amqtask.wire.ids import new_id
from amqtask.wire.lamport import LamportClock
from amqtask.wire.message import TRANSIENT, Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from amqtask.broker.driven import DrivenConnection
    from amqtask.broker.interface import Channel, Connection, Method
    from amqtask.config.settings import Settings
    from amqtask.errors import AmqtaskError
    from amqtask.events.event import Event
    from amqtask.events.history import Offset
    from amqtask.wire.message import PropertiesLike

    Handler = Callable[[Event], object]

logger = logging.getLogger("amqtask.events")

_AGAIN = 1.0
_LOOK = 0.25
"""Seconds between looks at whether to stop."""
_SILENCE = 10.0
"""Seconds after which a history that does not even give the last message again is another one than before."""
_END_IN = 1.0
"""Seconds for what the history ends with to come."""
_FATAL = (ACCESS_REFUSED, PRECONDITION_FAILED)


class Receiver:
    """One receiver. Not thread-safe: events are handled in the thread that calls :meth:`capture`.

    Args:
        connection: as of ``app.connection()``.
        handlers: type of event, or ``*`` for all others -> function that gets the event, a dict.
        routing_key: which events come, as a topic: ``#`` all, ``task.#``, ``worker.#``.
        node_id: part of the name of its queue; a new one for each connection by default.
        settings: of the app.
        from_offset: read the history that the broker keeps, from there, and go on with what comes; it has no
            ``routing_key`` and no ``node_id``. The history begins when the first such receiver does. ``first``,
            ``last``, ``next``, the number of a message, a datetime, or an age such as ``1h``.

    Raises:
        ConfigError: ``from_offset`` is none of these.

    Attributes:
        should_stop: set it to end :meth:`capture` after the event at hand.
    """

    def __init__(
        self,
        connection: DrivenConnection,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        *,
        settings: Settings,
        from_offset: Offset | None = None,
    ) -> None:
        self.connection, self.handlers, self.routing_key = connection, dict(handlers or {}), routing_key
        self.should_stop = False
        self.clock = LamportClock()
        self._node_id, self._settings = node_id, settings
        self._events: deque[Event] = deque()
        self._failure: AmqtaskError | None = None
        self._wakeup = False
        self._channel: TransientChannel | None = None
        self._place = None if from_offset is None else history.Place(from_offset)
        self.consuming = False
        """Do events come just now?"""

    @property
    def behind(self) -> bool:
        """May there be events in the history that were not read yet?"""
        return self._place is not None and self._place.behind

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Hand events to their handlers until ``should_stop`` is set.

        Args:
            limit: end after this many events.
            timeout: seconds without any event after which it ends with an error.
            wakeup: ask all workers for a heartbeat first, so that they are known at once; not with ``from_offset``.

        Raises:
            TimeoutError: nothing has come for ``timeout`` seconds.
            AccessRefused, BrokerError: the broker does not let us receive events.
            NoHistory: with ``from_offset``: it has no streams.
            Exception: whatever a handler raises.
        """
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[Event]:
        """Like :meth:`capture`, giving each event after its handler has seen it."""
        self._wakeup, self.should_stop, seen = wakeup, False, 0
        self._failure = None
        self.connection.use(self._up)
        try:
            last = clock.monotonic()
            while not self.should_stop and (limit is None or seen < limit):
                if self._events:
                    event = self._events.popleft()
                    self.process(event["type"], event)
                    seen, last = seen + 1, clock.monotonic()
                    yield event
                    continue
                left = _LOOK if timeout is None else last + timeout - clock.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no event within {timeout:g} s")
                self.connection.drive(min(left, _LOOK))
                if self._failure is not None:
                    raise self._failure
        finally:
            self.connection.leave(self._up)
            self._end()

    def process(self, kind: str, event: Event) -> None:
        """Hand an event to its handler."""
        handler = self.handlers.get(kind) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def wakeup_workers(self) -> None:
        """Ask all workers for a heartbeat."""
        exchange = f"{self._settings.control_exchange}.pidbox"
        body = json.dumps({"method": "heartbeat", "arguments": {}, "destination": None}).encode()
        headers = {"clock": self.clock.tick(), "expires": 0}
        properties = Properties("application/json", "utf-8", headers, TRANSIENT)
        if self._channel is not None:
            self._channel.publish(Outgoing(exchange, "", properties, body))

    # -- consuming ----------------------------------------------------------------------------------------------------

    def _up(self, connection: Connection) -> None:
        if self._place is None:
            self._open(connection, self._consume)
        elif has_streams(connection.version):
            declare_steps(connection, history.steps(self._settings), partial(self._declared, connection))
        else:
            self._failure = history.NoHistory(f"{connection.version} has no streams, so it keeps no history of events")

    def _declared(self, connection: Connection, error: AmqtaskError | None) -> None:
        if error is None:
            self._open(connection, partial(self._follow, connection))
        elif not isinstance(error, BrokerUnavailable):  # else there will be another connection
            self._failure = error

    def _open(self, connection: Connection, consume: Callable[[Channel], None]) -> None:
        def closed(code: int, text: str) -> None:
            if self._channel is not made:
                return
            self._channel, self.consuming = None, False
            if code in _FATAL:
                refused = AccessRefused if code == ACCESS_REFUSED else BrokerError
                self._failure = refused(f"events can't be received: {text} ({code})")
            elif code >= FIRST_ERROR:
                logger.warning("receiving events again: the broker closed the channel: %s (%d)", text, code)
                self.connection.call_later(_AGAIN, connection.drop)

        made = self._channel = TransientChannel(connection, on_open=consume, on_closed=closed)

    def _consume(self, channel: Channel) -> None:
        conf = self._settings
        queue = f"{conf.event_queue_prefix}.{self._node_id or new_id()}"
        arguments = {
            "x-expires": int(conf.event_queue_expires * 1000),
            "x-message-ttl": int(conf.event_queue_ttl * 1000),
        }
        channel.exchange_declare(conf.event_exchange, "topic", durable=True)
        channel.queue_declare(queue, exclusive=True, auto_delete=True, arguments=arguments)
        channel.queue_bind(queue, conf.event_exchange, self.routing_key)
        channel.exchange_declare(f"{conf.control_exchange}.pidbox", "fanout")
        channel.add_on_cancel_callback(lambda _: channel.close())
        channel.basic_consume(queue, self._receive, auto_ack=True, callback=lambda _: self._consuming())

    def _follow(self, connection: Connection, channel: Channel) -> None:
        """Nothing is published here: a broker in need would read no more from this connection, so no acks either."""
        assert self._place is not None
        known = self._place.last is not None
        channel.add_on_cancel_callback(lambda _: self._lost(channel))
        where = self._place.start(clock.wall())
        self._read(channel, where, self._receive_kept, lambda: self._following(connection, known=known))

    def _read(self, channel: Channel, offset: Offset, take: Any, then: Callable[[], None]) -> None:
        channel.basic_qos(prefetch_count=history.PREFETCH)
        name = history.name_of(self._settings)
        channel.basic_consume(name, take, arguments={history.OFFSET: offset}, callback=lambda _: then())

    def _following(self, connection: Connection, *, known: bool) -> None:
        self._consuming()
        if (channel := self._channel) is None:
            return
        if known:
            self.connection.call_later(_SILENCE, lambda: self._check(channel))

        def begin(there: Channel) -> None:
            self._read(there, "last", self._see_end, lambda: self.connection.call_later(_END_IN, seen))

        def seen() -> None:
            end.close()
            if channel is self._channel and self._place is not None:
                self._place.end_seen()

        end = TransientChannel(connection, on_open=begin, on_closed=lambda *_: None)

    def _see_end(self, _channel: Channel, _method: Method, properties: PropertiesLike, _body: bytes) -> None:
        assert self._place is not None
        self._place.see_end(properties)

    def _check(self, channel: TransientChannel) -> None:
        """A history that was deleted and made again counts from 0: it would be silent up to the number we wait for."""
        if channel is self._channel and self._place is not None and not self._place.heard:
            logger.warning("The history of events is another one than before; it is read from its beginning")
            self._lost(channel)

    def _lost(self, channel: Channel | TransientChannel) -> None:
        """The stream was deleted, or is another one: what is there now is read anew."""
        assert self._place is not None
        self._place.again()
        channel.close()
        if (connection := self.connection.connection) is not None:
            self.connection.call_later(_AGAIN, connection.drop)

    def _consuming(self) -> None:
        self.consuming = True
        logger.info("receiving events")
        if self._wakeup and self._place is None:
            self.wakeup_workers()

    def _receive_kept(self, channel: Channel, method: Method, properties: PropertiesLike, body: bytes) -> None:
        assert self._place is not None
        channel.basic_ack(method.delivery_tag)
        if self._place.take(properties):
            self._receive(channel, method, properties, body)
        self._place.taken()

    def _receive(self, _channel: Channel, _method: Method, properties: PropertiesLike, body: bytes) -> None:
        now = clock.wall()
        for event in read(properties.content_type, body):
            if event["type"] == "task-sent" or not isinstance(event.get("clock"), int):
                event["clock"] = self.clock.tick()  # of programs that send tasks, whose clocks nobody sets
            else:
                self.clock.adjust(event["clock"])
            place = self._place
            event["local_received"] = now if place is None else place.received(event.get("timestamp"), now)
            self._events.append(event)

    def _end(self) -> None:
        channel, self._channel = self._channel, None
        self.consuming = False
        if channel is not None:
            channel.close()
