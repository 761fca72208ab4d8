"""What the rest of amqtask may expect of a broker connection, as protocols. Owns no behaviour.

Two styles: :class:`Transport` blocks (or awaits) until the broker has confirmed, for producers; :class:`Loop`,
:class:`Connection` and :class:`Channel` never block and call back, for the worker's I/O thread. ``Channel`` uses
pika's method names, so that pika's own object fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import AmqtaskError, BrokerError, EncodeError
    from amqtask.topology.declarations import Step, Version
    from amqtask.wire.message import Outgoing, PropertiesLike

    Layout = Callable[[Version], Sequence[Step]]
    """Steps for the broker's version, which is known only once connected."""

    Deliver = Callable[["Channel", "Method", PropertiesLike, bytes], None]
    """Called for each delivery of a consumer."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How connections behave; times in seconds.

    Attributes:
        name: shown in the broker's list of connections.
        heartbeat: interval asked of the broker; 0 turns heartbeats off.
        connect_timeout: for TCP, TLS and AMQP handshake together, per URL.
        blocked_timeout: how long the broker may block publishers before :class:`BrokerBlocked`.
        max_message_size: bytes of body above which :class:`MessageTooLarge` is raised.
        ca_file, cert_file, key_file: PEM files for TLS; the system's CAs when ``ca_file`` is None.
        verify: check the server's certificate and host name.
    """

    name: str = "amqtask"
    heartbeat: int = 30
    connect_timeout: float = 5.0
    blocked_timeout: float = 10.0
    max_message_size: int = 16 * 1024 * 1024
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


class Reachable(Protocol):
    """What knows where the broker is, an app: for those who open connections of their own."""

    @property
    def broker_urls(self) -> tuple[BrokerURL, ...]:
        """The brokers to try; see :mod:`amqtask.broker.reconnect` for the order."""

    @property
    def connection_options(self) -> ConnectionOptions:
        """How the connections behave."""


class Transport(Protocol):
    """Hands messages to the broker; returning means confirmed and routed to at least one queue.

    Thread-safe. After a fork the child gets connections of its own.
    """

    def send(self, message: Outgoing, *, timeout: float) -> None:
        """Publish one message and wait for its confirm.

        A connection lost meanwhile is made again and the message sent again, within ``timeout`` seconds: it may then
        exist twice, under one id.

        Raises:
            PublishError: Unroutable, PublishTimeout, BrokerBlocked, QueueFull or MessageTooLarge.
            BrokerUnavailable: no connection in ``timeout`` seconds; the message was never sent.
            AccessRefused: the broker does not let us in.
        """

    def send_many(self, messages: Sequence[Outgoing], *, timeout: float) -> dict[int, AmqtaskError]:
        """Publish with pipelined confirms (bounded window); returns index -> error of those that failed.

        ``timeout`` counts from the last progress, not for the whole batch.
        """

    async def asend(self, message: Outgoing, *, timeout: float) -> None:  # noqa: ASYNC109 -- one deadline spans reconnects
        """Like :meth:`send`, without ever blocking the running loop."""

    def declare(self, layout: Layout) -> None:
        """Make the broker have what ``layout(version)`` lists, in order.

        Raises:
            InequivalentArguments: an object exists with other arguments.
            BrokerError: no connection, or no permission.
        """

    async def adeclare(self, layout: Layout) -> None:
        """Like :meth:`declare`, without ever blocking the running loop."""

    def close(self) -> None:
        """Close connections; idempotent. A later send opens a new one."""


class Loop(Protocol):
    """A single-threaded event loop (pika's select loop). Only ``call_soon_threadsafe`` is thread-safe."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> object:
        """Call back once after ``delay`` seconds; returns a handle for :meth:`cancel`."""

    def cancel(self, handle: object) -> None:
        """Forget a :meth:`call_later`; harmless after it has fired."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn; from any thread."""

    def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
        """Call back whenever the file descriptor is readable or closed by the other side."""

    def watch_writable(self, fd: int, on_writable: Callable[[], None] | None) -> None:
        """Also call back whenever a watched ``fd`` is writable; None stops that."""

    def unwatch(self, fd: int) -> None:
        """Stop watching; before the descriptor is closed."""

    def run(self) -> None:
        """Run until :meth:`stop`."""

    def turn(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for something to do, do it, and return."""

    def stop(self) -> None:
        """End :meth:`run` after this turn."""


class Method(Protocol):
    """Of a basic.deliver: where the message came from and how to settle it."""

    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str


class Channel(Protocol):
    """The part of pika's channel that the worker uses. Not thread-safe; lives on its loop."""

    @property
    def is_open(self) -> bool: ...

    def basic_qos(self, *, prefetch_count: int, callback: Callable[[Any], None] | None = None) -> None: ...
    def basic_consume(
        self,
        queue: str,
        on_message_callback: Deliver,
        *,
        auto_ack: bool = False,
        exclusive: bool = False,
        consumer_tag: str | None = None,
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> str: ...
    def basic_cancel(self, consumer_tag: str, callback: Callable[[Any], None] | None = None) -> None: ...
    def add_on_cancel_callback(self, callback: Callable[[Any], None]) -> None: ...
    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None: ...
    def basic_acks(self, acks: Sequence[tuple[int, bool]]) -> None: ...
    def basic_nack(self, delivery_tag: int, multiple: bool = False, requeue: bool = True) -> None: ...
    def exchange_declare(
        self,
        exchange: str,
        exchange_type: Any = "direct",
        *,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None: ...
    def exchange_bind(
        self,
        destination: str,
        source: str,
        routing_key: str = "",
        *,
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None: ...
    def queue_declare(
        self,
        queue: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None: ...
    def queue_delete(self, queue: str, *, callback: Callable[[Any], None] | None = None) -> None: ...
    def queue_bind(
        self,
        queue: str,
        exchange: str,
        routing_key: str | None = None,
        *,
        arguments: dict[str, Any] | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> None: ...
    def close(self) -> None: ...


class ConfirmChannel(Protocol):
    """A channel in confirm mode, for publishing. Not thread-safe; lives on its loop."""

    @property
    def is_open(self) -> bool:
        """Can it be published on?"""

    @property
    def consuming(self) -> Channel:
        """The very same channel, for one that also consumes: what is published ends with what is consumed."""

    def publish(self, exchange: str, routing_key: str, header: bytes, body: bytes) -> None:
        """Write one mandatory message; ``header`` comes from :func:`amqtask.broker.content.seal`."""

    def flush(self) -> None:
        """Hand what was published to the socket; until then the driver may hold it back."""

    def close(self) -> None:
        """Close the channel; ``on_closed`` follows."""


class ConfirmEvents(Protocol):
    """Told what happens on a :class:`ConfirmChannel`."""

    def on_ready(self, channel: ConfirmChannel) -> None:
        """The channel is open and in confirm mode."""

    def on_ack(self, tag: int, multiple: bool) -> None:
        """The broker has stored a message, or has returned it before."""

    def on_nack(self, tag: int, multiple: bool) -> None:
        """The broker did not take a message."""

    def on_return(self, text: str, exchange: str, routing_key: str, properties: PropertiesLike, body: bytes) -> None:
        """A mandatory message reached no queue; its ack follows."""

    def on_closed(self, code: int, text: str) -> None:
        """The channel is gone, whoever closed it; code 0 for the connection's end. Called once."""


class Connection(Protocol):
    """An open AMQP connection on a loop."""

    @property
    def version(self) -> Version: ...

    @property
    def frame_max(self) -> int: ...

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the socket has not taken yet."""

    def open_channel(self, on_open: Callable[[Channel], None], on_closed: Callable[[int, str], None]) -> None:
        """Open a channel; ``on_closed(code, text)`` is called once, whoever closed it, 0 for the connection's end."""

    def open_confirm_channel(self, events: ConfirmEvents) -> None:
        """Open a channel in confirm mode; ``events`` is told of everything that happens on it."""

    def close(self) -> None:
        """Close in an orderly way; ``on_down`` of the link follows."""

    def drop(self) -> None:
        """Cut it without a word, for a peer that seems dead; ``on_down`` of the link follows."""


PublishDone = Callable[["BrokerError | EncodeError | None"], None]
"""Told the fate of one message: None when it is confirmed and routed."""
