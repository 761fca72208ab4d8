"""Channels in confirm mode: how a message is written on pika's channel.

Owns the two ways, pika's public one and the faster one with frames of our own. Imports no pika: it is handed pika's
channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.broker.frames import PublishFrames

if TYPE_CHECKING:
    from amqtask.broker.interface import Channel

_WRITE_SIZE = 64 * 1024
"""Bytes collected before a write: pika copies the rest of a buffer that the socket took in part."""


class _Sealed:
    """Encoded properties in the shape that pika's publish asks for."""

    __slots__ = ("_encoded",)
    INDEX = 0x003C  # of the basic class, as pika asks of properties

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

    @property
    def consuming(self) -> Channel:
        """See the protocol."""
        return self._channel  # type: ignore[no-any-return]

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
