"""Everything that touches pika: connections on our loop, channels in confirm mode, blocking connections.

The only module that imports pika. Owns the translation of pika's objects and exceptions into our protocols
(:mod:`amqtask.broker.interface`) and errors (:mod:`amqtask.broker.failures`).

pika reports every lost connection on its own loggers as an error with a traceback, although the loss is handled here
and logged once by whoever owns the connection. So its logger is set to CRITICAL, unless the program chose a level.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pika
from pika import exceptions
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils import connection_workflow
from pika.exceptions import AMQPError, ChannelClosed, NackError, UnroutableError

from amqtask.broker import failures
from amqtask.broker.content import FRAME_MAX
from amqtask.broker.frames import PublishFrames
from amqtask.broker.loop import SelectLoop
from amqtask.broker.tls import tls_context
from amqtask.broker.version import read_version
from amqtask.errors import AccessRefused, BrokerError, BrokerUnavailable
from amqtask.wire.message import Properties

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, ConfirmChannel, ConfirmEvents, ConnectionOptions
    from amqtask.broker.url import BrokerURL
    from amqtask.topology.declarations import Version

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


class _Connection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, except that a callback's exception reaches whoever runs the loop.

    pika would take an exception from any callback (a consumer's, a confirm's) for a failure of the stream: log it,
    cut the connection and go on. A defect must not look like a bad network.
    """

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
            custom_ioloop=loop,
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
        channel = self._pika.channel(on_open_callback=on_open)
        channel.add_on_close_callback(lambda _channel, reason: on_closed(*_channel_end(reason)))

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


class _Sealed:
    """Encoded properties in the shape that pika's publish asks for."""

    __slots__ = ("_encoded",)
    INDEX = pika.spec.BasicProperties.INDEX

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded

    def encode(self) -> list[bytes]:
        return [self._encoded]


class PikaConfirmChannel:
    """See :class:`amqtask.broker.interface.ConfirmChannel`; by pika's public ``basic_publish``."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    @property
    def is_open(self) -> bool:
        """Can it be published on?"""
        return bool(self._channel.is_open)

    def publish(self, exchange: str, routing_key: str, header: bytes, body: bytes) -> None:
        """Write one mandatory message; ``header`` comes from :func:`amqtask.broker.content.seal`."""
        self._channel.basic_publish(exchange, routing_key, body, _Sealed(header), True)

    def flush(self) -> None:
        """Hand what was published to the socket."""

    def close(self) -> None:
        """Close the channel; ``on_closed`` follows."""
        if self._channel.is_open:
            self._channel.close()


class FastConfirmChannel(PikaConfirmChannel):
    """The same with frames of our own: a third of the CPU per message, and one write for many of them.

    Leans on one private method of pika's connection, so :func:`fast_publishing_works` has to agree first.
    """

    def __init__(self, channel: Any, frame_max: int) -> None:
        super().__init__(channel)
        self._add = PublishFrames(channel.channel_number, frame_max).add
        self._emit = channel.connection._output_marshaled_frames  # noqa: SLF001
        self._out: list[bytes] = []
        self._size = 0

    def publish(self, exchange: str, routing_key: str, header: bytes, body: bytes) -> None:
        """Write one mandatory message; ``header`` comes from :func:`amqtask.broker.content.seal`."""
        self._add(self._out, exchange, routing_key, header, body)
        self._size += len(header) + len(body)
        if self._size > _WRITE_SIZE:
            self.flush()

    def flush(self) -> None:
        """Hand what was published to the socket."""
        if self._out:
            self._emit((b"".join(self._out),))
            self._out.clear()
            self._size = 0


_WRITE_SIZE = 64 * 1024
"""Bytes collected before a write: pika copies the rest of a buffer that the socket took in part."""


@lru_cache(maxsize=1)
def fast_publishing_works() -> bool:
    """Does this pika still frame a publish as we do, and still have the method we need?"""
    try:
        properties = pika.BasicProperties(content_type="text/plain", headers={"a": 1, "b": "c"}, delivery_mode=2)
        body = b"x" * 5000
        expected: list[bytes] = []
        probe = SelectConnection.__new__(SelectConnection)
        probe._body_max_length = 4096 - 8  # noqa: SLF001
        probe._output_marshaled_frames = expected.extend  # noqa: SLF001
        method = pika.spec.Basic.Publish(exchange="e", routing_key="k", mandatory=True)
        probe._send_method(7, method, (properties, body))  # noqa: SLF001
        mine: list[bytes] = []
        PublishFrames(7, 4096).add(mine, "e", "k", b"".join(properties.encode()), body)
        return b"".join(mine) == b"".join(expected) and callable(SelectConnection._output_marshaled_frames)  # noqa: SLF001
    except Exception:
        return False


# -- parameters and errors ------------------------------------------------------------------------------------------


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


def connect_error(url: BrokerURL, error: BaseException) -> BrokerError:
    """Why a connection could not be made, as one of our errors with a readable cause."""
    error = _cause(error)
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return failures.login_refused(url)
    if isinstance(error, exceptions.ProbableAccessDeniedError):
        return failures.vhost_refused(url, text)
    if isinstance(error, exceptions.IncompatibleProtocolError):
        return failures.closed_while_opening(url, "closed during the protocol header")
    if isinstance(error, exceptions.ConnectionClosed):
        return closed_by_broker(url, error.reply_code, error.reply_text)
    if isinstance(error, exceptions.ConnectionOpenAborted):
        return failures.unavailable(url, "the attempt was given up")
    if isinstance(error, connection_workflow.AMQPConnectorException | exceptions.StreamLostError):
        return failures.unavailable(url, "no answer in time" if "Timeout" in type(error).__name__ else text)
    if isinstance(error, ConnectionResetError) and url.tls:
        return failures.closed_while_opening(url, "reset")
    return failures.unavailable(url, failures.socket_reason(error))


def _cause(error: BaseException) -> BaseException:
    """Peel off the layers in which pika's connection workflow wraps the cause."""
    while True:
        inner: Any = None
        if isinstance(error, connection_workflow.AMQPConnectionWorkflowFailed):
            inner = error.exceptions[-1]
        elif isinstance(error, connection_workflow.AMQPConnectorPhaseErrorBase):
            inner = error.exception
        elif error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None:
            return error
        error = inner


def closed_by_broker(url: BrokerURL, code: int, text: str) -> BrokerError:
    """A connection.close of the broker."""
    if code == failures.ACCESS_REFUSED:
        return AccessRefused(f"RabbitMQ at {url.where}: {text}")
    if code == failures.NOT_ALLOWED:
        return failures.vhost_refused(url, text)
    return failures.unavailable(url, f"closed by the broker: {code} {text}")


def loss_error(url: BrokerURL, error: BaseException) -> BrokerError:
    """Why an open connection ended."""
    if isinstance(error, exceptions.ConnectionClosedByClient):
        return BrokerUnavailable(f"the connection to RabbitMQ at {url.where} was closed here")
    if isinstance(error, exceptions.ConnectionClosed):
        return closed_by_broker(url, error.reply_code, error.reply_text)
    if isinstance(error, exceptions.AMQPHeartbeatTimeout):
        return failures.unavailable(url, "no heartbeat from the broker")
    return failures.unavailable(url, "the connection was lost")


def _channel_end(reason: BaseException) -> tuple[int, str]:
    if isinstance(reason, exceptions.ChannelClosed):
        # closed by us: pika gives our own reply code, 0, which the contract keeps for the connection's end
        return reason.reply_code, reason.reply_text
    if isinstance(reason, exceptions.ConnectionClosed):
        return 0, f"{reason.reply_code} {reason.reply_text}"
    return 0, str(reason) or type(reason).__name__
