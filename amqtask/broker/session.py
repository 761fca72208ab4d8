"""One confirm channel with its ledger: writes messages, turns confirms and returns into fates.

Owns nothing beyond the channel's life; :class:`amqtask.broker.publisher.Publisher` makes a new one for each channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from amqtask import clock
from amqtask.broker.confirms import ConfirmLedger
from amqtask.errors import QueueFull, Unroutable

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.batch import Pending
    from amqtask.broker.interface import ConfirmChannel
    from amqtask.errors import BrokerError
    from amqtask.wire.message import PropertiesLike

WINDOW_BYTES = 8 * 1024 * 1024
"""Most bytes of bodies in flight; a single larger body goes alone."""


class SessionOwner(Protocol):
    """Told what becomes of the messages of a :class:`Session`."""

    def session_ready(self, session: Session) -> None:
        """Messages can be written now."""

    def message_settled(self, item: Pending, error: BrokerError | None) -> None:
        """The broker has spoken about one message."""

    def session_closed(self, session: Session, code: int, text: str) -> None:
        """The channel is gone; what is in its ledger has no fate yet."""


class Session:
    """See the module. Not thread-safe."""

    def __init__(self, owner: SessionOwner) -> None:
        self._owner = owner
        self._channel: ConfirmChannel | None = None
        self._bytes = 0
        self.ledger: ConfirmLedger[Pending] = ConfirmLedger()
        self.last_confirm = 0.0  # monotonic time, as a sign of life

    @property
    def ready(self) -> bool:
        """Is the channel open and in confirm mode?"""
        return self._channel is not None and self._channel.is_open

    def room(self, window: int) -> bool:
        """May another message be written?"""
        in_flight = len(self.ledger)
        return in_flight < window and (self._bytes < WINDOW_BYTES or in_flight == 0)

    def write(self, item: Pending) -> None:
        """Write one message; :meth:`flush` must follow."""
        assert self._channel is not None
        message = item.message
        self._channel.publish(message.exchange, message.routing_key, item.header, message.body)
        item.written = True
        self._bytes += len(message.body)
        self.ledger.published(item)

    def flush(self) -> None:
        """Hand what was written to the socket."""
        if self._channel is not None:
            self._channel.flush()

    def forget(self, wanted: Callable[[Pending], bool]) -> list[Pending]:
        """Take out messages that nobody waits for any more."""
        forgotten = self.ledger.forget(wanted)
        self._bytes -= sum(len(item.message.body) for item in forgotten)
        return forgotten

    # -- events of the channel (ConfirmEvents) --------------------------------------------------------------------

    def on_ready(self, channel: ConfirmChannel) -> None:
        """See ConfirmEvents; so for the others below."""
        self._channel = channel
        self._owner.session_ready(self)

    def on_ack(self, tag: int, multiple: bool) -> None:
        """Stored, or returned before."""
        self._settle(self.ledger.on_ack(tag, multiple), None)

    def on_nack(self, tag: int, multiple: bool) -> None:
        """Not taken."""
        text = "the broker refused the message: a queue is at its limit (overflow: reject-publish), or failed"
        self._settle(self.ledger.on_nack(tag, multiple), text)

    def on_return(self, text: str, exchange: str, routing_key: str, properties: PropertiesLike, body: bytes) -> None:
        """Reached no queue; the ack follows."""
        where = f"exchange {exchange!r}" if exchange else "the default exchange"
        self.ledger.on_return(
            lambda item: item.looks_like(exchange, routing_key, properties, body),
            f"no queue takes routing key {routing_key!r} from {where} ({text})",
        )

    def on_closed(self, code: int, text: str) -> None:
        """The channel is gone."""
        self._channel = None
        self._owner.session_closed(self, code, text)

    def _settle(self, settled: list[tuple[Pending, str | None]], refusal: str | None) -> None:
        self.last_confirm = clock.monotonic()
        for item, returned in settled:
            self._bytes -= len(item.message.body)
            if returned is not None:
                self._owner.message_settled(item, Unroutable(returned))
            elif refusal is not None:
                self._owner.message_settled(item, QueueFull(refusal))
            else:
                self._owner.message_settled(item, None)
