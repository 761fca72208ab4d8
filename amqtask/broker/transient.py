"""A channel for messages that may get lost: no confirms, nothing is repeated, nobody waits.

Owns writing them, and knowing when the socket no longer takes them: whoever publishes looks at :attr:`congested`
first, for what the socket does not take stays in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from amqtask.broker.pika_driver import to_pika

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection
    from amqtask.wire.message import Outgoing

_UNSENT_MAX = 1024 * 1024
"""Bytes in front of the socket from which on nothing should be added."""


class TransientChannel:
    """One channel, from its opening to its end. Not thread-safe; lives on its loop.

    Args:
        connection: an open one; better not one that consumes, for a broker in need stops reading from publishers.
        on_open: told once it can be used; what is published on must be declared first.
        on_closed: told the code and text of its end, once; 0 for the connection's end.
        on_return: told the routing key of a mandatory message that reached no queue.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_open: Callable[[Channel], None],
        on_closed: Callable[[int, str], None],
        on_return: Callable[[str], None] | None = None,
    ) -> None:
        self._connection, self._on_open, self._on_return = connection, on_open, on_return
        self._channel: Any = None
        connection.open_channel(self._opened, on_closed)

    @property
    def is_open(self) -> bool:
        """Can it be published on?"""
        return self._channel is not None and bool(self._channel.is_open)

    @property
    def congested(self) -> bool:
        """Does the socket not take what is published, or is there none?"""
        return not self.is_open or self._connection.unsent > _UNSENT_MAX

    def publish(self, message: Outgoing, *, mandatory: bool = False) -> None:
        """Write a message; it is lost when the channel is not open.

        Args:
            message: what to send.
            mandatory: tell ``on_return`` when no queue takes it.
        """
        if self.is_open:
            properties = to_pika(message.properties)
            self._channel.basic_publish(message.exchange, message.routing_key, message.body, properties, mandatory)

    def close(self) -> None:
        """Close the channel; ``on_closed`` follows."""
        if self.is_open:
            self._channel.close()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        if (told := self._on_return) is not None:
            cast("Any", channel).add_on_return_callback(lambda _channel, method, *_: told(method.routing_key))
        self._on_open(channel)
