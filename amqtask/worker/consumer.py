"""The worker's consuming connection: declare, open a channel, consume; and all of it again after every loss.

Owns the consume channel and its epochs. After a reconnect the desired state is rebuilt from our own model:
topology, prefetch, consumers. Prefetch is per consumer, never global (quorum queues refuse that and close the
connection); changing it means a new consumer first and the cancel of the old one second. Until the broker answers a
cancel, what it sent to that consumer is taken like any other message. A broker that owes an answer for long is left.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.broker.declare import declare_steps, verify_steps
from amqtask.broker.faults import is_gone
from amqtask.errors import AccessRefused, BrokerError, DevBrokerGone, TopologyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Layout, Loop, Method
    from amqtask.wire.message import PropertiesLike

    OnMessage = Callable[[str, Method, PropertiesLike, bytes], None]

logger = logging.getLogger(__name__)

_PAUSE = 2.0
"""Seconds before a refused channel or consumer is tried again."""

_ANSWER = 30.0
"""Seconds the broker may take for each answer until everything is consumed; heartbeats don't count."""

_PREFETCH_MAX = 65_535


@dataclass(slots=True)
class _Consumer:
    queue: str
    prefetch: int
    arguments: dict[str, Any]
    tag: str = ""
    generation: int = 0
    stopped: set[str] = field(default_factory=set)
    """Why it is not consumed; empty: it is."""
    more: int = 0
    """Room beside the prefetch, for messages that wait here without a slot in view."""


class Consumers:
    """The consumers of one worker. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        name: start of the consumer tags; the node name.
        layout: what has to exist before consuming: a consumer of a missing queue costs all of them their channel.
        verify_only: do not declare it, only see that it is there.
        on_message: called for each delivery with the queue's name.
        on_open: a new channel exists, nothing was delivered on it yet.
        on_ready: every queue is consumed.
        on_lost: the channel is gone, with everything unsettled on it.
        on_fatal: the topology or our rights don't let us consume at all.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        layout: Layout,
        *,
        verify_only: bool,
        on_message: OnMessage,
        on_open: Callable[[Channel], None],
        on_ready: Callable[[], None],
        on_lost: Callable[[], None],
        on_fatal: Callable[[Exception], None],
    ) -> None:
        self._loop, self._name, self._layout, self._verify_only = loop, name, layout, verify_only
        self._on_message, self._on_open, self._on_ready = on_message, on_open, on_ready
        self._on_lost, self._on_fatal = on_lost, on_fatal
        self._on_closed: Callable[[], None] | None = None
        self._on_cancelled: Callable[[], None] | None = None
        self._live: set[str] = set()
        """Tags of the consumers on the channel, until the broker says that they have ended."""
        self._answer_timer: object = None
        self._consumers: dict[str, _Consumer] = {}
        self._connection: Connection | None = None
        self.channel: Channel | None = None
        self._was_ready = self._warned = False
        self._stopping = False
        self._awaiting = 0
        """Consumers that the broker has not confirmed yet, of those that a new channel begins with."""
        self.window = 1
        """How many messages of any queue the broker sends without an ack."""

    def add(self, queue: str, prefetch: int, priority: int | None) -> None:
        """Consume this queue from the next channel on."""
        arguments = {} if priority is None else {"x-priority": priority}
        self._consumers[queue] = _Consumer(queue, prefetch, arguments)

    def remove(self, queue: str) -> None:
        """Forget a queue that is not consumed and need not exist."""
        consumer = self._consumers.get(queue)
        if consumer is not None and consumer.stopped and consumer.tag not in self._live:
            del self._consumers[queue]

    @property
    def names(self) -> list[str]:
        """The queues, those included that are stopped."""
        return list(self._consumers)

    @property
    def consumed(self) -> dict[str, int]:
        """The queues that are consumed, or will be with the next connection, and how many messages each may hold."""
        return {name: one.prefetch for name, one in self._consumers.items() if not one.stopped}

    @property
    def lacking(self) -> list[str]:
        """Queues that should be consumed, and are not as far as we know."""
        if self.channel is None or not self.channel.is_open or self._awaiting or self._stopping:
            return list(self.consumed)
        return [name for name in self.consumed if self._consumers[name].tag not in self._live]

    # -- connection and channel -------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """The link is up: declare, then open the channel."""
        if self._stopping:
            return
        self._connection = connection
        self._prepare(connection, partial(self._declared, connection))

    def _prepare(self, connection: Connection, done: Callable[[Exception | None], None]) -> None:
        def prepared(failure: Exception | None) -> None:
            self._answered()
            done(failure)

        self._await_answer()
        run = verify_steps if self._verify_only else declare_steps
        run(connection, self._layout(connection.version), prepared, self._await_answer)

    def _await_answer(self) -> None:
        """The broker owes us an answer, the first or one more."""
        self._answered()
        connection = self._connection

        def silent() -> None:
            if connection is not None and connection is self._connection:
                logger.error("The broker has not answered for %.0fs; connecting again", _ANSWER)
                connection.drop()

        self._answer_timer = self._loop.call_later(_ANSWER, silent)

    def _answered(self) -> None:
        self._loop.cancel(self._answer_timer)
        self._answer_timer = None

    def disconnected(self, error: BrokerError) -> None:
        """The link is down; it comes back by itself, unless the broker does not let us in."""
        self._connection = self.channel = None
        self._answered()
        if isinstance(error, AccessRefused):
            self.fail_unless_ready(error)
        elif isinstance(error, DevBrokerGone):
            self._on_fatal(error)
        elif not self._was_ready and not self._warned:
            self._warned = True
            logger.warning("Can't consume yet: %s; trying until it works", error)

    def fail_unless_ready(self, error: Exception) -> None:
        """End the worker for this error, unless it has consumed before: then it keeps trying."""
        if not self._was_ready:
            self._on_fatal(error)

    def _declared(self, connection: Connection, failure: Exception | None) -> None:
        if connection is not self._connection or self._stopping:
            return
        if failure is None:
            self._open_channel()
        elif isinstance(failure, TopologyError | AccessRefused) and not self._was_ready:
            self._on_fatal(failure)
        else:
            self._again_later(failure)

    def _again_later(self, error: Exception) -> None:
        logger.error("Can't consume yet: %s; next attempt in %.0fs", error, _PAUSE)
        connection = self._connection
        self._loop.call_later(
            _PAUSE,
            lambda: self.connected(connection) if connection and connection is self._connection else None,
        )

    def _open_channel(self) -> None:
        connection = self._connection
        if connection is not None and not self._stopping:
            self._await_answer()
            connection.open_channel(self._channel_open, partial(self._channel_closed, connection))

    def _channel_closed(self, connection: Connection, code: int, text: str) -> None:
        self.channel = None
        self._answered()
        self._on_lost()
        for tag in list(self._live):
            self._ended(tag)
        if self._on_closed is not None:
            self._on_closed()
        if connection is not self._connection or self._stopping or not code:
            return
        if is_gone(code, text) and not self._was_ready:
            self._on_fatal(TopologyError(f"can't consume: {text}; run 'amqtask topology apply'"))
        else:
            self._again_later(BrokerError(f"channel closed by the broker: {code} {text}"))

    def _channel_open(self, channel: Channel) -> None:
        self.channel = channel
        self._on_open(channel)
        channel.add_on_cancel_callback(self._cancelled_by_broker)
        wanted = [consumer for consumer in self._consumers.values() if not consumer.stopped]
        self._awaiting = len(wanted)
        if not wanted:
            self._all_consumed()
            return
        self._await_answer()
        for consumer in wanted:
            self._consume(channel, consumer)

    def _all_consumed(self) -> None:
        self._answered()
        self._was_ready = True
        self._on_ready()

    # -- consumers --------------------------------------------------------------------------------

    def _consume(self, channel: Channel, consumer: _Consumer, then: Callable[[], None] | None = None) -> None:
        """Add a consumer; without ``then`` it is one of those that a new channel begins with."""
        consumer.generation += 1
        consumer.tag = f"{self._name}:{consumer.queue}:{consumer.generation}"
        self._live.add(consumer.tag)
        self.window = min(prefetch or _PREFETCH_MAX for prefetch in self.consumed.values())

        def consuming(_: Any) -> None:
            if then is not None:
                then()
            elif self._awaiting:
                self._awaiting -= 1
                if self._awaiting:
                    self._await_answer()
                else:
                    self._all_consumed()

        queue, on_message = consumer.queue, self._on_message
        channel.basic_qos(prefetch_count=consumer.prefetch and min(consumer.prefetch + consumer.more, _PREFETCH_MAX))
        channel.basic_consume(
            queue,
            lambda _channel, method, properties, body: on_message(queue, method, properties, body),
            consumer_tag=consumer.tag,
            arguments=consumer.arguments,
            callback=consuming,
        )

    def _cancelled_by_broker(self, frame: Any) -> None:
        tag = frame.method.consumer_tag
        self._ended(tag)
        consumer = next((one for one in self._consumers.values() if one.tag == tag), None)
        if consumer is None or consumer.stopped or self._stopping:
            return
        logger.warning("The broker cancelled the consumer of %s; consuming it again", consumer.queue)
        connection, channel = self._connection, self.channel

        def again() -> None:
            if channel is None or channel is not self.channel or connection is not self._connection:
                return
            if connection is not None and not self._stopping and not consumer.stopped and consumer.tag == tag:
                self._prepare(connection, declared)

        def declared(failure: Exception | None) -> None:
            if failure is not None:
                logger.error("Can't declare again: %s; next attempt in %.0fs", failure, _PAUSE)
                self._loop.call_later(_PAUSE, again)
            elif channel is None or channel is not self.channel or self._stopping or consumer.stopped:
                return
            elif consumer.tag == tag:
                self._consume(channel, consumer, lambda: None)

        self._loop.call_later(_PAUSE / 10, again)

    def set_prefetch(self, queue: str, prefetch: int) -> None:
        """Change how many messages of a queue are held: a new consumer, then the cancel of the old one."""
        consumer = self._consumers.get(queue)
        if consumer is not None and consumer.prefetch != prefetch:
            consumer.prefetch = prefetch
            self._renew(consumer)

    def make_room(self, queue: str, more: int) -> None:
        """Hold this many messages more than the prefetch says."""
        consumer = self._consumers.get(queue)
        if consumer is not None and consumer.more != more:
            consumer.more = more
            self._renew(consumer)

    def _renew(self, consumer: _Consumer) -> None:
        channel, old = self.channel, consumer.tag
        if channel is not None and not self._stopping and not consumer.stopped:
            self._consume(channel, consumer, lambda: self._cancel(channel, old))

    def stop(self, queue: str, reason: str, then: Callable[[], None]) -> None:
        """Do not consume a queue until :meth:`go_on` is called with the same reason.

        Args:
            queue: one of :attr:`names`, or one that was.
            reason: in a word; there may be several.
            then: called when nothing can come from it any more, unless the channel goes before.
        """
        consumer, channel = self._consumers.get(queue), self.channel
        if consumer is None:
            self._loop.call_later(0, then)
            return
        was_consumed = not consumer.stopped
        consumer.stopped.add(reason)
        if not was_consumed or channel is None or not channel.is_open or consumer.tag not in self._live:
            self._loop.call_later(0, then)
            return

        def cancelled(frame: Any) -> None:
            self._cancelled(frame)
            then()

        channel.basic_cancel(consumer.tag, cancelled)

    def go_on(self, queue: str, reason: str) -> None:
        """Consume a queue again, if nothing else speaks against it."""
        consumer, channel = self._consumers.get(queue), self.channel
        if consumer is None or reason not in consumer.stopped:
            return
        consumer.stopped.discard(reason)
        if not consumer.stopped and channel is not None and channel.is_open and not self._stopping:
            self._consume(channel, consumer, lambda: None)

    def _cancel(self, channel: Channel, tag: str) -> None:
        if channel.is_open and tag in self._live:
            # with a callback: without one the driver forgets the consumer at once
            channel.basic_cancel(tag, self._cancelled)

    def _cancelled(self, frame: Any) -> None:
        self._ended(frame.method.consumer_tag)

    def _ended(self, tag: str) -> None:
        """Nothing can come for this consumer any more."""
        self._live.discard(tag)
        if not self._live and self._on_cancelled is not None:
            then, self._on_cancelled = self._on_cancelled, None
            then()

    def cancel_all(self, then: Callable[[], None]) -> None:
        """Stop deliveries for good; ``then`` is called when none can come any more."""
        self._stopping = True
        channel = self.channel
        if channel is None or not channel.is_open or not self._live:
            then()
            return
        self._on_cancelled = then
        for tag in list(self._live):
            self._cancel(channel, tag)

    def close_channel(self, then: Callable[[], None]) -> None:
        """Close the channel and call back when the broker has answered: it has our acks then."""
        channel = self.channel
        if channel is None or not channel.is_open:
            then()
            return
        self._on_closed = then
        channel.close()
