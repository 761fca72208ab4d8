"""Everything that touches pika: connections on our loop, channels in confirm mode, blocking connections.

Besides :mod:`.pika_faults` (its exceptions), :mod:`.pika_internals` (what the fast paths lean on) and
:mod:`.pika_mends` (its classes with our changes) the only module that imports pika. Owns the translation of pika's
objects into our protocols (:mod:`amqtask.broker.interface`).

pika reports every lost connection on its own loggers as an error with a traceback, although the loss is handled here
and logged once by whoever owns the connection. So its logger is set to CRITICAL, unless the program chose a level.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pika
from pika import data, exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosed, ConnectionBlockedTimeout, NackError, UnroutableError

from amqtask.broker import codes, faults
from amqtask.broker.confirm_channel import FastConfirmChannel, PikaConfirmChannel
from amqtask.broker.content import FRAME_MAX
from amqtask.broker.deliveries import DeliveryReader
from amqtask.broker.loop import SelectLoop
from amqtask.broker.pika_faults import channel_end, connect_error, loss_error
from amqtask.broker.pika_internals import fast_publishing_works, fast_reading_works
from amqtask.broker.pika_mends import MendedConnection, Services
from amqtask.broker.tls import remember_sockets, tls_context
from amqtask.broker.version import read_version
from amqtask.version import __version__
from amqtask.wire.message import Properties

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, ConfirmChannel, ConfirmEvents, ConnectionOptions
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import BrokerError
    from amqtask.topology.declarations import Version

_GRACE = 0.5
"""Seconds that the whole handshake may take longer than ``connect_timeout``: pika's own timers come first."""

__all__ = [
    "AMQPError",
    "ChannelClosed",
    "ConnectionBlockedTimeout",
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


def new_loop(*, real: bool = False) -> SelectLoop:
    """A loop for connections; see :class:`amqtask.broker.interface.Loop` and :class:`SelectLoop`."""
    return SelectLoop(real=real)


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
        self._services: Services | None = None
        self._guard: object = None

    def begin(self, loop: SelectLoop, options: ConnectionOptions) -> None:
        """Start the attempt; called once, by :func:`open_connection`."""
        self._loop = loop
        timeout = self.url.connect_timeout or options.connect_timeout
        self._guard = loop.call_later(timeout + _GRACE, self._give_up)
        self._services = Services(loop)
        self._pika = MendedConnection(
            parameters(self.url, options),
            on_open_callback=self._opened,
            on_open_error_callback=self._failed,
            on_close_callback=self._closed,
            custom_ioloop=self._services,
        )

    @property
    def version(self) -> Version:
        """The broker's product and version."""
        return read_version(self._pika.server_properties)

    @property
    def frame_max(self) -> int:
        """Largest frame in bytes, as negotiated."""
        return self._pika.params.frame_max or FRAME_MAX

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the socket has not taken yet."""
        transport = self._pika._transport  # noqa: SLF001 -- there is no public way
        return 0 if transport is None else int(transport.get_write_buffer_size())

    def open_channel(self, on_open: Callable[[Channel], None], on_closed: Callable[[int, str], None]) -> None:
        """Open a channel; ``on_closed(code, text)`` is called once, whoever closed it, 0 for the connection's end."""
        if not self._pika.is_open:  # it went a moment ago, or is closing: as if it had gone a moment later
            if self._loop is not None:
                self._loop.call_later(0, lambda: on_closed(0, "the connection is closed"))
            return
        try:
            channel = self._pika.channel(on_open_callback=on_open)
        except exceptions.NoFreeChannels:
            if self._loop is not None:
                self._loop.call_later(0, lambda: on_closed(codes.NOT_ALLOWED, "the connection has no free channel"))
            return
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
            self._pika.read_confirms(channel.channel_number, events.on_ack)
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

    def release(self) -> None:
        """Close its socket at once and tell nobody; for a loop that does not run any more."""
        if self._services is not None:
            self._services.release()

    # -- pika's callbacks -----------------------------------------------------------------------------------------

    def _opened(self, connection: Any) -> None:
        self._end_guard()
        if fast_reading_works():
            connection.read_fast()
        connection.add_on_connection_blocked_callback(lambda _c, frame: self._on_blocked(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda _c, _frame: self._on_blocked(None))
        self._on_open(self)

    def _failed(self, _connection: Any, error: BaseException) -> None:
        self.release()  # Python leaves a TLS socket open that is reset before its handshake
        if self._guard is not None:  # else the guard has reported already
            self._end_guard()
            self._on_error(connect_error(self.url, error))

    def _closed(self, _connection: Any, error: BaseException) -> None:
        self._on_closed(loss_error(self.url, error))

    def _give_up(self) -> None:
        self._guard = None
        self.close()
        self.release()  # pika would do so a turn later, which may never come
        self._on_error(faults.unavailable(self.url, "no answer in time"))

    def _end_guard(self) -> None:
        if self._loop is not None and self._guard is not None:
            self._loop.cancel(self._guard)
        self._guard = None


_ACK = pika.spec.Basic.Ack.INDEX


# -- parameters ------------------------------------------------------------------------------------------


def open_blocking(url: BrokerURL, options: ConnectionOptions) -> Any:
    """Connect and wait; a pika BlockingConnection, for commands that have nothing else to do.

    It ends with ConnectionBlockedTimeout when the broker blocks publishers for ``blocked_timeout``.

    Raises:
        BrokerUnavailable: nobody answers.
        AccessRefused: wrong credentials, or no such vhost.
    """
    given = parameters(url, options)
    given.blocked_connection_timeout = options.blocked_timeout
    sockets: list[socket.socket] = []
    if given.ssl_options is not None:
        remember_sockets(given.ssl_options.context, sockets)
    try:
        return pika.BlockingConnection(given)
    except (exceptions.AMQPError, AMQPConnectorException, OSError, ValueError) as error:
        for sock in sockets:
            sock.close()
        # a bare ValueError is pika's word for a socket that is no longer connected
        gone = isinstance(error, ValueError) and not isinstance(error, OSError)
        cause = ConnectionResetError("reset at once") if gone else error
        raise connect_error(url, cause) from None


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
        client_properties={"product": "amqtask", "version": __version__, "connection_name": options.name},
    )
