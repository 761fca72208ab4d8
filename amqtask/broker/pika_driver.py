"""Everything that touches pika: connections on our loop, channels in confirm mode, blocking connections.

Besides :mod:`.pika_faults` (its exceptions) and :mod:`.pika_internals` (what the fast paths lean on) the only module
that imports pika. Owns the translation of pika's objects into our protocols (:mod:`amqtask.broker.interface`).

pika reports every lost connection on its own loggers as an error with a traceback, although the loss is handled here
and logged once by whoever owns the connection. So its logger is set to CRITICAL, unless the program chose a level.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import pika
from pika import data, exceptions
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter
from pika.exceptions import AMQPError, ChannelClosed, NackError, UnroutableError

from amqtask.broker import failures
from amqtask.broker.confirm_channel import FastConfirmChannel, PikaConfirmChannel
from amqtask.broker.content import FRAME_MAX
from amqtask.broker.deliveries import Deliver, DeliveryReader
from amqtask.broker.loop import SelectLoop
from amqtask.broker.pika_faults import channel_end, connect_error, loss_error
from amqtask.broker.pika_internals import fast_publishing_works, fast_reading_works
from amqtask.broker.tls import tls_context
from amqtask.broker.version import read_version
from amqtask.wire.message import Properties

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, ConfirmChannel, ConfirmEvents, ConnectionOptions
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import BrokerError
    from amqtask.topology.declarations import Version

_READ_SIZE = 64 * 1024
"""Bytes per read from the socket."""

_GRACE = 0.5
"""Seconds that the whole handshake may take longer than ``connect_timeout``: pika's own timers come first."""

__all__ = [
    "AMQPError",
    "ChannelClosed",
    "NackError",
    "PikaConnection",
    "UnroutableError",
    "from_pika",
    "new_loop",
    "open_blocking",
    "open_connection",
    "to_pika",
]

if (_pika_log := logging.getLogger("pika")).level == logging.NOTSET:
    _pika_log.setLevel(logging.CRITICAL)


def new_loop() -> SelectLoop:
    """A loop for connections; see :class:`amqtask.broker.interface.Loop`."""
    return SelectLoop()


def to_pika(properties: Properties) -> Any:
    """The same properties as pika's object."""
    return pika.BasicProperties(*properties)  # both have the order of the AMQP specification


def from_pika(properties: Any) -> Properties:
    """Received properties as our value."""
    return Properties(*(getattr(properties, name) for name in Properties._fields))


def read_properties(header: bytes) -> Properties:
    """Properties as a consumer gets them.

    Args:
        header: flags and values, as :func:`amqtask.broker.content.seal` gives them.
    """
    reader = DeliveryReader(lambda *_: None, lambda _: None, data.decode_value)
    return reader.properties(header, 2, int.from_bytes(header[:2], "big"))


def open_connection(
    loop: SelectLoop,
    url: BrokerURL,
    options: ConnectionOptions,
    *,
    on_open: Callable[[PikaConnection], None],
    on_error: Callable[[BrokerError], None],
    on_closed: Callable[[BrokerError], None],
    on_blocked: Callable[[str | None], None],
) -> PikaConnection:
    """Begin to connect; returns at once.

    Args:
        loop: where the connection lives.
        url: of the broker.
        options: of the connection.
        on_open: the connection is usable.
        on_error: it could not be made; nothing else is called then.
        on_closed: an open connection is gone, whoever closed it.
        on_blocked: the broker blocks publishers, with its reason; None when it no longer does.

    Returns:
        The connection, not open yet; its ``close()`` also ends the attempt (``on_error`` follows).

    Raises:
        ConfigError: TLS files that can't be used.
    """
    connection = PikaConnection(url, on_open, on_error, on_closed, on_blocked)
    connection.begin(loop, options)
    return connection


class _Services(SelectorIOServicesAdapter):  # type: ignore[misc]  # pika has no types
    """Our loop as pika sees it, with one mend: a peer that is gone as soon as it was there is a failed attempt."""

    def create_streaming_connection(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().create_streaming_connection(*args, **kwargs)
        except ValueError:  # pika's word for a socket that is no longer connected; it would end the loop
            kwargs["sock"].close()
            return self.call_later(0, lambda: kwargs["on_done"](ConnectionResetError("reset at once")))


class _Connection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, except that a callback's exception reaches whoever runs the loop.

    pika would take an exception from any callback (a consumer's, a confirm's) for a failure of the stream: log it,
    cut the connection and go on. A defect must not look like a bad network.
    """

    reader: DeliveryReader | None = None

    def read_fast(self) -> None:
        """Read deliveries by :mod:`amqtask.broker.deliveries` from now on, and more bytes at once."""
        self.reader = DeliveryReader(self._deliver, super()._on_data_available, data.decode_value)
        self._frame_buffer, rest = b"", self._frame_buffer
        self._transport._MAX_RECV_BYTES = _READ_SIZE  # noqa: SLF001  # instead of 4 KiB
        # one read per event: the loop calls again while there is more, and a read in vain costs an exception
        self._transport._MAX_CONSUME_BYTES = 1  # noqa: SLF001
        if rest:
            self.reader.feed(rest)

    def _on_data_available(self, data_in: bytes) -> None:
        if self.reader is None:
            super()._on_data_available(data_in)
        else:
            self.bytes_received += len(data_in)  # what pika's heartbeat check looks at
            self.reader.feed(data_in)

    def _deliver(self, channel: int, method: Deliver, properties: Properties, body: bytes) -> None:
        open_channel = self._channels.get(channel)
        if open_channel is not None:
            content = _Content(method, properties)
            open_channel._on_deliver(content, content, body)  # noqa: SLF001

    def _on_connection_workflow_done(self, conn_or_exc: Any) -> None:
        # An attempt that is given up early is reported as the exception's class, which pika itself then trips over.
        super()._on_connection_workflow_done(conn_or_exc() if isinstance(conn_or_exc, type) else conn_or_exc)

    def _proto_data_received(self, data: bytes) -> None:
        try:
            super()._proto_data_received(data)
        except exceptions.AMQPError:
            raise  # a broken frame: that is a failure of the stream
        except Exception as error:
            defect = error

            def surface() -> None:
                raise defect

            self._nbio.call_later(0, surface)


class _Content(NamedTuple):
    """Stands for pika's method frame and header frame of a delivery."""

    method: Deliver
    properties: Properties


class PikaConnection:
    """A pika connection on our loop; see :class:`amqtask.broker.interface.Connection`."""

    def __init__(
        self,
        url: BrokerURL,
        on_open: Callable[[PikaConnection], None],
        on_error: Callable[[BrokerError], None],
        on_closed: Callable[[BrokerError], None],
        on_blocked: Callable[[str | None], None],
    ) -> None:
        self.url = url
        self._on_open, self._on_error = on_open, on_error
        self._on_closed, self._on_blocked = on_closed, on_blocked
        self._pika: Any = None
        self._loop: SelectLoop | None = None
        self._guard: object = None

    def begin(self, loop: SelectLoop, options: ConnectionOptions) -> None:
        """Start the attempt; called once, by :func:`open_connection`."""
        self._loop = loop
        self._guard = loop.call_later(options.connect_timeout + _GRACE, self._give_up)
        self._pika = _Connection(
            parameters(self.url, options),
            on_open_callback=self._opened,
            on_open_error_callback=self._failed,
            on_close_callback=self._closed,
            custom_ioloop=_Services(loop),
        )

    @property
    def version(self) -> Version:
        """The broker's product and version."""
        return read_version(self._pika.server_properties)

    @property
    def frame_max(self) -> int:
        """Largest frame in bytes, as negotiated."""
        return self._pika.params.frame_max or FRAME_MAX

    def open_channel(self, on_open: Callable[[Channel], None], on_closed: Callable[[int, str], None]) -> None:
        """Open a channel; ``on_closed(code, text)`` is called once, whoever closed it, 0 for the connection's end."""
        if not self._pika.is_open:  # it went a moment ago, or is closing: as if it had gone a moment later
            if self._loop is not None:
                self._loop.call_later(0, lambda: on_closed(0, "the connection is closed"))
            return
        channel = self._pika.channel(on_open_callback=on_open)
        channel.add_on_close_callback(lambda _channel, reason: on_closed(*channel_end(reason)))

    def open_confirm_channel(self, events: ConfirmEvents) -> None:
        """Open a channel in confirm mode; ``events`` is told of everything that happens on it."""

        def opened(channel: Any) -> None:
            channel.add_on_return_callback(
                lambda _channel, method, properties, body: events.on_return(
                    method.reply_text, method.exchange, method.routing_key, properties, body
                )
            )
            fast = fast_publishing_works()
            ready: ConfirmChannel = FastConfirmChannel(channel, self.frame_max) if fast else PikaConfirmChannel(channel)
            channel.confirm_delivery(confirmed, lambda _frame: events.on_ready(ready))

        def confirmed(frame: Any) -> None:
            method = frame.method
            (events.on_ack if method.INDEX == _ACK else events.on_nack)(method.delivery_tag, method.multiple)

        self.open_channel(opened, events.on_closed)

    def close(self) -> None:
        """Close in an orderly way, or end the attempt to open; harmless when it is closed or closing."""
        if not (self._pika.is_closed or self._pika.is_closing):
            self._pika.close()

    def drop(self) -> None:
        """Cut the connection without a word, for a peer that seems dead; ``on_closed`` follows."""
        if not self._pika.is_closed:
            # what pika's own heartbeat check does when the peer is silent; there is no public way
            self._pika._terminate_stream(exceptions.AMQPHeartbeatTimeout("dropped"))  # noqa: SLF001

    # -- pika's callbacks -----------------------------------------------------------------------------------------

    def _opened(self, connection: Any) -> None:
        self._end_guard()
        if fast_reading_works():
            connection.read_fast()
        connection.add_on_connection_blocked_callback(lambda _c, frame: self._on_blocked(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda _c, _frame: self._on_blocked(None))
        self._on_open(self)

    def _failed(self, _connection: Any, error: BaseException) -> None:
        if self._guard is not None:  # else the guard has reported already
            self._end_guard()
            self._on_error(connect_error(self.url, error))

    def _closed(self, _connection: Any, error: BaseException) -> None:
        self._on_closed(loss_error(self.url, error))

    def _give_up(self) -> None:
        self._guard = None
        self.close()
        self._on_error(failures.unavailable(self.url, "no answer in time"))

    def _end_guard(self) -> None:
        if self._loop is not None and self._guard is not None:
            self._loop.cancel(self._guard)
        self._guard = None


_ACK = pika.spec.Basic.Ack.INDEX


# -- parameters ------------------------------------------------------------------------------------------


def open_blocking(url: BrokerURL, options: ConnectionOptions) -> Any:
    """Connect and wait; a pika BlockingConnection, for commands that have nothing else to do.

    Raises:
        BrokerUnavailable: nobody answers.
        AccessRefused: wrong credentials, or no such vhost.
    """
    try:
        return pika.BlockingConnection(parameters(url, options))
    except exceptions.AMQPError as error:
        raise connect_error(url, error) from None
    except OSError as error:
        raise failures.unavailable(url, failures.socket_reason(error)) from None


def parameters(url: BrokerURL, options: ConnectionOptions) -> Any:
    """Pika's connection parameters for a URL; what the URL says wins over the options."""
    context = tls_context(url, options)
    timeout = url.connect_timeout or options.connect_timeout
    credentials = (
        pika.credentials.ExternalCredentials() if url.external else pika.PlainCredentials(url.user, url.password)
    )
    return pika.ConnectionParameters(
        host=url.host,
        port=url.port,
        virtual_host=url.vhost,
        credentials=credentials,
        heartbeat=options.heartbeat if url.heartbeat is None else url.heartbeat,
        ssl_options=pika.SSLOptions(context, url.host) if context else None,
        socket_timeout=timeout,
        stack_timeout=timeout,
        connection_attempts=1,
        client_properties={"product": "amqtask", "version": _version(), "connection_name": options.name},
    )


@lru_cache(maxsize=1)
def _version() -> str:
    try:
        return metadata.version("amqtask")
    except metadata.PackageNotFoundError:
        return "unknown"
