"""The scheduler's one channel: it consumes the log and publishes, in confirm mode. Owns that channel.

One channel for both is what makes a former leader harmless: the broker hands the log on when this channel has gone, and
takes nothing from it any more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.broker.confirms import ConfirmLedger
from amqtask.broker.content import seal
from amqtask.schedules.records import HEADER

if TYPE_CHECKING:
    from amqtask.broker.interface import ConfirmChannel, Connection, ConnectionOptions
    from amqtask.wire.message import Outgoing, PropertiesLike

logger = logging.getLogger("amqtask.beat")


class LogChannelOwner(Protocol):
    """Told what happens on a channel."""

    def channel_open(self, channel: LogChannel) -> None:
        """It consumes from now on."""

    def channel_delivers(self, channel: LogChannel, tag: int, properties: PropertiesLike, body: bytes) -> None:
        """A message of the log."""

    def channel_refused(self, message: Outgoing) -> None:
        """The broker did not put a message into all of its queues."""

    def channel_closed(self, channel: LogChannel, code: int, text: str) -> None:
        """The channel is gone; code 0 for the connection's end."""


class LogChannel:
    """See the module. Begins with :meth:`open`, ends with ``channel_closed``. Not thread-safe.

    Args:
        owner: told what happens.
        queue: of the log.
        options: for the limits of messages.
    """

    def __init__(self, owner: LogChannelOwner, queue: str, options: ConnectionOptions) -> None:
        self._owner, self._queue, self._options = owner, queue, options
        self._channel: ConfirmChannel | None = None
        self._frame_max = 0
        self._why = ""
        """Why it was closed here."""
        self._ledger: ConfirmLedger[Outgoing] = ConfirmLedger()

    def open(self, connection: Connection) -> None:
        """Open the channel on this connection and consume."""
        self._frame_max = connection.frame_max
        connection.open_confirm_channel(self)

    @property
    def is_open(self) -> bool:
        """What is published now reaches the broker, unless the channel breaks."""
        return self._channel is not None and self._channel.is_open

    @property
    def unconfirmed(self) -> int:
        """Messages that the broker has not taken yet."""
        return len(self._ledger)

    def publish(self, message: Outgoing) -> None:
        """Publish, if the channel is still there; what is lost with it was not sent.

        Raises:
            MessageTooLarge, EncodeError: it can't be sent at all.
        """
        header = seal(message, self._options, self._frame_max)
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        channel.publish(message.exchange, message.routing_key, header, message.body)
        channel.flush()
        self._ledger.published(message)

    def acknowledge(self, tag: int) -> None:
        """Acknowledge every delivery up to this one."""
        if self._channel is not None and self._channel.is_open:
            self._channel.consuming.basic_ack(tag, multiple=True)

    def close(self) -> None:
        """Close the channel: another process gets the log."""
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            channel.close()

    # -- events of the channel (ConfirmEvents)

    def on_ready(self, channel: ConfirmChannel) -> None:
        """See ConfirmEvents; so for the others below."""
        self._channel = channel
        consuming = channel.consuming
        consuming.add_on_cancel_callback(self._cancelled)
        consuming.basic_consume(
            self._queue,
            lambda _channel, method, properties, body: self._owner.channel_delivers(
                self, method.delivery_tag, properties, body
            ),
            callback=lambda _frame: self._owner.channel_open(self),
        )

    def on_ack(self, tag: int, multiple: bool) -> None:
        """Stored, or returned before."""
        for message, returned in self._ledger.on_ack(tag, multiple):
            if returned is not None:
                logger.warning("A message of the scheduler reached no queue: %s", returned)
                self._owner.channel_refused(message)

    def on_nack(self, tag: int, multiple: bool) -> None:
        """Not taken by one of its queues at least."""
        for message, _ in self._ledger.on_nack(tag, multiple):
            self._owner.channel_refused(message)

    def on_return(self, text: str, exchange: str, routing_key: str, properties: PropertiesLike, body: bytes) -> None:
        """Reached no queue; the ack follows."""
        del exchange, body
        reason = f"{routing_key} ({text})"
        self._ledger.on_return(lambda one: one.properties.message_id == properties.message_id, reason)

    def on_closed(self, code: int, text: str) -> None:
        """The channel is gone."""
        self._channel = None
        for message, _ in self._ledger.drain():
            headers = message.properties.headers or {}
            if HEADER in headers and "BCC" not in headers:  # the log has it already, and won't have it sent again
                self._owner.channel_refused(message)
        self._owner.channel_closed(self, code, self._why or text)

    def _cancelled(self, _frame: Any) -> None:
        self._why = f"the broker has ended the consumer of {self._queue}"
        logger.warning("The broker has ended the consumer of %s; beginning anew", self._queue)
        self.close()
