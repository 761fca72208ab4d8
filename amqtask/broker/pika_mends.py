"""pika's classes with what we change in them, and why.

Owns the connection, the channel and the I/O services that :mod:`.pika_driver` uses. Everything here leans on pika's
internals; a change of behaviour belongs here, a new use of pika in the driver.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 -- looking up a name needs it, and gevent waits when two threads import
from typing import TYPE_CHECKING, Any, NamedTuple

from pika import data, exceptions
from pika.adapters.select_connection import SelectConnection
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter
from pika.channel import Channel as PikaChannel

from amqtask import unpatched
from amqtask.broker.deliveries import Deliver, DeliveryReader
from amqtask.broker.frames import ack_frames
from amqtask.broker.pika_internals import fast_publishing_works, plain_transport
from amqtask.broker.tls import remember_sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from amqtask.broker.loop import SelectLoop
    from amqtask.wire.message import Properties

_READ_SIZE = 64 * 1024
"""Bytes per read from the socket."""


class Services(SelectorIOServicesAdapter):  # type: ignore[misc]  # pika has no types
    """Our loop as pika sees it, for one connection: it knows the sockets, for when pika does not come to close them.

    Two mends: a peer that is gone as soon as it was there is a failed attempt, and beside a loop of a real thread names
    are looked up in a real one too, whatever gevent has patched.
    """

    def __init__(self, loop: SelectLoop) -> None:
        super().__init__(loop)
        self._watching = loop
        self._sockets: list[socket.socket] = []

    def connect_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
        """See pika; so for the next one."""
        self._sockets.append(sock)
        return super().connect_socket(sock, *args, **kwargs)

    def getaddrinfo(self, host: str, port: int, on_done: Callable[[Any], None], **wanted: Any) -> Any:
        """Look up a name; ``on_done`` is told what was found, or the exception."""
        if self._watching.real:
            return _Lookup(self._watching, on_done).start(host, port, wanted)
        return super().getaddrinfo(host, port, on_done, **wanted)

    def create_streaming_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Take a connected socket, and make a stream of it."""
        if (context := kwargs.get("ssl_context")) is not None:
            remember_sockets(context, self._sockets)
        try:
            return super().create_streaming_connection(*args, **kwargs)
        except ValueError:  # pika's word for a socket that is no longer connected; it would end the loop
            kwargs["sock"].close()
            return self.call_later(0, lambda: kwargs["on_done"](ConnectionResetError("reset at once")))

    def release(self) -> None:
        """Close what is still open; pika, if it ever looks again, takes it for a lost connection."""
        for sock in self._sockets:
            if (fd := sock.fileno()) >= 0:
                self._watching.unwatch(fd)
                sock.close()


class _Lookup:
    """Of a name, in a thread."""

    def __init__(self, loop: SelectLoop, on_done: Callable[[Any], None]) -> None:
        self._loop = loop
        self._on_done: Callable[[Any], None] | None = on_done

    def start(self, host: str, port: int, wanted: dict[str, Any]) -> _Lookup:
        names = {"type" if name == "socktype" else name: value for name, value in wanted.items()}

        def look() -> None:
            try:
                found = unpatched.original("socket", "getaddrinfo")(host, port, **names)
            except Exception as error:  # names that can't be encoded, too
                found = error
            self._loop.call_soon_threadsafe(lambda: self._tell(found))

        unpatched.start_thread(look)
        return self

    def cancel(self) -> bool:
        """As pika asks for it: was it in time?"""
        on_done, self._on_done = self._on_done, None
        return on_done is not None

    def _tell(self, found: Any) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(found)


class MendedChannel(PikaChannel):  # type: ignore[misc]  # pika has no types
    """pika's channel, except that a consumer gets what was on its way to it while it was being cancelled.

    pika would send that back. It would come again as redelivered, which is the mark of a crash.

    And closing it does not cancel its consumers first: a queue with a single active consumer would go to the next one
    before it has back what this one holds, and that one would read it in the wrong order.
    """

    def basic_acks(self, acks: Sequence[tuple[int, bool]]) -> None:
        """Write a basic.ack for each (delivery tag, multiple), all of them at once: a write costs more than an ack."""
        if self.is_open and fast_publishing_works():  # pika refuses to write to one that is closed
            self.connection._output_marshaled_frames((ack_frames(self.channel_number, acks),))  # noqa: SLF001
            return
        for tag, multiple in acks:
            self.basic_ack(tag, multiple)

    def close(self, *args: Any, **kwargs: Any) -> None:
        """See pika."""
        self._cancelled.update(self._consumers)
        self._consumers.clear()
        super().close(*args, **kwargs)

    def deliver(self, method: Deliver, properties: Properties, body: bytes) -> None:
        """Hand a message to its consumer."""
        on_message = self._consumers.get(method.consumer_tag)
        if on_message is None:
            content = _Content(method, properties)
            super()._on_deliver(content, content, body)
        else:
            on_message(self, method, properties, body)

    def _on_deliver(self, method_frame: Any, header_frame: Any, body: bytes) -> None:
        self.deliver(method_frame.method, header_frame.properties, body)


class MendedConnection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection except for callbacks' exceptions and for when it writes.

    pika would take an exception from any callback (a consumer's, a confirm's) for a failure of the stream: log it,
    cut the connection and go on. A defect must not look like a bad network.

    And pika would wait for the socket to be writable before each write. It nearly always is, and somebody waits for
    what is sent.
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

    def read_confirms(self, channel: int, confirmed: Callable[[int, bool], None]) -> None:
        """Tell the confirms of a channel in confirm mode, if :meth:`read_fast` was called; else pika does.

        Args:
            channel: number of the channel, until it is closed.
            confirmed: called with (delivery tag, multiple) for each basic.ack.
        """
        if self.reader is not None:
            self.reader.confirmed[channel] = confirmed

    def _on_channel_cleanup(self, channel: Any) -> None:
        if self.reader is not None:
            self.reader.confirmed.pop(channel.channel_number, None)
        super()._on_channel_cleanup(channel)

    def _adapter_emit_data(self, data: bytes) -> None:
        transport: Any = self._transport
        if (
            transport.__class__ is plain_transport()
            and not transport._tx_buffers  # noqa: SLF001
            and transport._state == transport._STATE_ACTIVE  # noqa: SLF001
        ):
            try:
                sent = transport._sock.send(data)  # noqa: SLF001
            except OSError:  # full, or gone: pika finds that out with the rest
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        super()._adapter_emit_data(data)

    def _on_data_available(self, data_in: bytes) -> None:
        if self.reader is None:
            super()._on_data_available(data_in)
        else:
            self.bytes_received += len(data_in)  # what pika's heartbeat check looks at
            self.reader.feed(data_in)

    def _deliver(self, channel: int, method: Deliver, properties: Properties, body: bytes) -> None:
        open_channel = self._channels.get(channel)
        if open_channel is not None:
            open_channel.deliver(method, properties, body)

    def _create_channel(self, channel_number: int, on_open_callback: Callable[[Any], None] | None) -> MendedChannel:
        return MendedChannel(self, channel_number, on_open_callback)

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
