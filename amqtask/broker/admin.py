"""A blocking connection for the command line: look at queues, take messages, put them back, declare.

Owns its channels; everything else is one call to the broker. Not for hot paths.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from amqtask.broker import codes, faults
from amqtask.broker.content import seal
from amqtask.broker.declare import send_blocking, subject
from amqtask.broker.pika_driver import (
    AMQPError,
    ChannelClosed,
    ConnectionBlockedTimeout,
    NackError,
    UnroutableError,
    from_pika,
    open_blocking,
    to_pika,
)
from amqtask.broker.version import read_version
from amqtask.errors import AccessRefused, BrokerBlocked, BrokerError, BrokerUnavailable, QueueFull, Unroutable
from amqtask.topology.declarations import ExchangeDeclare, QueueDeclare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from amqtask.broker.interface import ConnectionOptions
    from amqtask.broker.url import BrokerURL
    from amqtask.topology.declarations import Step, Version
    from amqtask.wire.message import Outgoing, Properties

    T = TypeVar("T")

_LOOK = 0.2
"""Seconds without a delivery after which a queue may be empty."""

_PATIENCE = 50
"""Looks at a queue that holds messages and gives none."""

_MOST = 65_535
"""Messages that a consumer may hold unacknowledged: as many as the protocol can say."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as the broker sees it: messages that wait for a consumer, and consumers."""

    name: str
    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message taken from a queue and not yet acknowledged.

    Attributes:
        remaining: messages that wait behind it; 0 where the broker does not say.
    """

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Properties
    body: bytes
    remaining: int


class Admin:
    """A context manager that connects on entry, or on first use. Not thread-safe.

    Messages that were taken and neither acknowledged nor put back return to their queue when it closes.

    Args:
        urls: brokers; the first that answers is used.
        options: of the connection.
    """

    def __init__(self, urls: Sequence[BrokerURL], options: ConnectionOptions) -> None:
        self._urls, self._options = tuple(urls), options
        self._connection: Any = None
        self._channels: dict[str, Any] = {}  # by purpose, since an error closes the channel it happens on

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def version(self) -> Version:
        """The broker's product and version."""
        return read_version(self._connected()._impl.server_properties)  # noqa: SLF001 -- there is no public way

    def queue_state(self, name: str) -> QueueState | None:
        """How full a queue is; None when there is none of this name.

        Raises:
            BrokerError: it is away with its node.
            AccessRefused: the user may not look at it, or it is exclusive to another connection.
        """
        try:
            frame = self._call("probe", lambda channel: channel.queue_declare(name, passive=True))
        except ChannelClosed as error:
            return self._missing(error, f"queue {name!r}")
        return QueueState(name, frame.method.message_count, frame.method.consumer_count)

    def exists(self, step: Step) -> bool:
        """Is there an exchange or queue of this kind and name? True for bindings, which can't be asked for."""
        try:
            if isinstance(step, QueueDeclare):
                self._call("probe", lambda channel: channel.queue_declare(step.name, passive=True))
            elif isinstance(step, ExchangeDeclare):
                self._call("probe", lambda channel: channel.exchange_declare(step.name, passive=True))
        except ChannelClosed as error:
            self._missing(error, subject(step))
            return False
        return True

    def declare(self, step: Step) -> None:
        """Make the broker have what a step says; changes nothing that exists.

        Raises:
            InequivalentArguments: it exists with other arguments.
            TopologyError: the broker refuses it for another reason.
            AccessRefused: no permission.
        """
        try:
            self._call("probe", lambda channel: send_blocking(channel, step))
        except ChannelClosed as error:
            raise faults.declare_refused(error.reply_code, error.reply_text, subject(step)) from None

    def purge(self, queue: str) -> int:
        """Throw away every message that waits in a queue; returns how many."""
        frame = self._named("probe", queue, lambda channel: channel.queue_purge(queue))
        return int(frame.method.message_count)

    def delete_queue(self, name: str) -> None:
        """Delete a queue with its messages; harmless when there is none."""
        self._named("probe", name, lambda channel: channel.queue_delete(name))

    def unbind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Remove a binding; harmless when there is none."""
        self._named("probe", queue, lambda channel: channel.queue_unbind(queue, exchange, routing_key))

    def delete_exchange(self, name: str) -> None:
        """Delete an exchange with its bindings; harmless when there is none."""
        self._call("probe", lambda channel: channel.exchange_delete(name))

    def get(self, queue: str) -> Received | None:
        """Take the next message without acknowledging it; None when the queue is empty."""
        method, properties, body = self._named("get", queue, lambda channel: channel.basic_get(queue))
        if method is None:
            return None
        return _received(method, properties, body)

    def take(self, queue: str, count: int) -> Iterator[Received]:
        """Take messages as a consumer does, the first ones first; ends early when there are no more.

        A quorum queue puts back what one consumer held in its old order, and what was taken one by one with
        :meth:`get` in none. That holds for messages that were received: read it to its end before :meth:`requeue`.

        Args:
            queue: its name.
            count: at most this many; others may arrive meanwhile.

        Raises:
            BrokerUnavailable: the queue keeps what it has, or the connection was lost.
        """
        if count <= 0:
            return
        waiting: deque[Received] = deque()

        def begin(channel: Any) -> None:
            channel.basic_qos(prefetch_count=count if count <= _MOST else 0)
            channel.basic_consume(queue, lambda _channel, *delivery: waiting.append(_received(*delivery)))

        self._named("get", queue, begin)
        connection, silent = self._connected(), 0
        while count > 0 and silent < _PATIENCE:
            self._guarded(lambda: connection.process_data_events(time_limit=_LOOK))
            if not waiting:
                # the answer may be ahead of a delivery that is on its way, so it is believed the second time only
                state = self.queue_state(queue)
                if silent and (state is None or not state.ready):
                    return
                silent += 1
            while waiting and count > 0:
                count, silent = count - 1, 0
                yield waiting.popleft()
        if count > 0:
            raise BrokerUnavailable(f"queue {queue!r} holds messages but does not deliver them")

    def ack(self, tag: int) -> None:
        """The message of this tag is done with: it leaves its queue."""
        self._call("get", lambda channel: channel.basic_ack(tag))

    def requeue(self) -> None:
        """Put every message that was taken and not acknowledged back into its queue."""
        channel = self._channels.pop("get", None)
        if channel is not None and channel.is_open:
            self._guarded(channel.close)

    def publish(self, message: Outgoing) -> None:
        """Publish with confirm and mandatory routing, and wait.

        Raises:
            PublishError: Unroutable, QueueFull or MessageTooLarge.
            BrokerBlocked: the broker took no messages for ``blocked_timeout``; the connection is closed.
        """
        seal(message, self._options)
        try:
            self._call(
                "publish",
                lambda channel: channel.basic_publish(
                    message.exchange, message.routing_key, message.body, to_pika(message.properties), mandatory=True
                ),
            )
        except UnroutableError:
            raise Unroutable(
                f"no queue takes routing key {message.routing_key!r} from exchange {message.exchange!r}"
            ) from None
        except NackError:
            raise QueueFull("the broker refused the message: a queue is at its limit, or failed") from None
        except ChannelClosed as error:
            raise faults.publish_refused(error.reply_code, error.reply_text) from None

    def close(self) -> None:
        """Close the connection; idempotent."""
        connection, self._connection = self._connection, None
        self._channels.clear()
        if connection is not None and connection.is_open:
            with contextlib.suppress(AMQPError, OSError):
                connection.close()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _connected(self) -> Any:
        if self._connection is None or not self._connection.is_open:
            self._channels.clear()
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Any:
        failure: BrokerError | None = None
        for url in self._urls:
            try:
                return open_blocking(url, self._options)
            except BrokerError as error:
                failure = error
        raise failure or BrokerUnavailable("no broker URL")

    def _channel(self, purpose: str) -> Any:
        channel = self._channels.get(purpose)
        if channel is None or not channel.is_open:
            channel = self._connected().channel()
            if purpose == "publish":
                channel.confirm_delivery()
            self._channels[purpose] = channel
        return channel

    def _call(self, purpose: str, work: Callable[[Any], T]) -> T:
        return self._guarded(lambda: work(self._channel(purpose)))

    def _named(self, purpose: str, queue: str, work: Callable[[Any], T]) -> T:
        try:
            return self._call(purpose, work)
        except ChannelClosed as error:
            raise faults.declare_refused(error.reply_code, error.reply_text, f"queue {queue!r}") from None

    @staticmethod
    def _guarded(work: Callable[[], T]) -> T:
        try:
            return work()
        except (ChannelClosed, UnroutableError, NackError):
            raise
        except ConnectionBlockedTimeout:
            raise BrokerBlocked("the broker blocks publishers (memory or disk alarm)") from None
        except (AMQPError, OSError) as error:
            raise BrokerUnavailable(f"the connection to RabbitMQ was lost: {error!r}") from None

    @staticmethod
    def _missing(error: Any, what: str) -> None:
        if faults.is_gone(error.reply_code, error.reply_text):
            return
        if error.reply_code in (codes.ACCESS_REFUSED, codes.RESOURCE_LOCKED):
            raise AccessRefused(f"{what}: {error.reply_text}") from None
        raise BrokerError(f"{what}: {error.reply_code} {error.reply_text}") from None


def _received(method: Any, properties: Any, body: bytes) -> Received:
    return Received(
        tag=method.delivery_tag,
        redelivered=method.redelivered,
        exchange=method.exchange,
        routing_key=method.routing_key,
        properties=from_pika(properties),
        body=body,
        remaining=getattr(method, "message_count", 0),
    )
