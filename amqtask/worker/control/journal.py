"""Reading the revocations that the broker keeps. Owns the channel for it, and when everything there was has been read.

A stream is read from its start and followed; RabbitMQ does not tell reliably how long it is, so the reader adds a mark
of its own and has read everything when that comes. Where there are no streams, a classic queue is emptied by one worker
at a time, which puts everything back by closing its channel; later entries are told by remote control alone.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from amqtask.broker.codes import ACCESS_REFUSED, REPLY_SUCCESS
from amqtask.broker.declare import declare_steps
from amqtask.control.tombstones import QUEUE, Tombstone, has_streams, message, queue, read
from amqtask.errors import BrokerUnavailable, DecodeError
from amqtask.wire.ids import new_id
from amqtask.wire.refusals import Refusals
from amqtask.wire.signing import TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop, Method
    from amqtask.broker.publisher import Publisher
    from amqtask.errors import AmqtaskError, BrokerError, EncodeError
    from amqtask.wire.message import PropertiesLike
    from amqtask.wire.signing import Signer

logger = logging.getLogger("amqtask.worker.control")

_PATIENCE = 5.0
"""Seconds without news after which work goes on without having read everything."""

_PREFETCH = 1000
_AGAIN = 5.0
"""Seconds before a stream that was closed is followed again."""

_TURN = 0.1
"""Seconds before a classic queue that another worker looks through is tried again."""

_ENDS = (0, REPLY_SUCCESS)
"""Codes of a channel whose connection ends."""


class Journal:
    """See the module. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        expires: setting ``revoke_expires``.
        found: told each entry.
        caught_up: told once per connection that everything there was has been read, or can't be.
        publisher: sends the marks.
        signer: of the app; a mark needs no signature, for only its sender knows it.
    """

    def __init__(
        self,
        loop: Loop,
        expires: float,
        found: Callable[[Tombstone], None],
        caught_up: Callable[[], None],
        publisher: Publisher,
        signer: Signer,
    ) -> None:
        self._loop, self._expires, self._publisher = loop, expires, publisher
        self._found, self._on_caught_up = found, caught_up
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._behind = False
        """Whether there may be entries that were not read yet."""
        self._mark = ""
        """What this reader has added to the stream last."""
        self._timer: object = None
        self._looked = False
        """Whether a classic queue has been emptied, on this connection."""
        self._signer = signer
        self._refusals = Refusals(logger, f"An entry of {QUEUE}")

    def connected(self, connection: Connection) -> None:
        """Read everything, from the start."""
        self._connection, self._behind, self._looked = connection, True, False
        self._wait()
        self._declare(connection)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._connection = self._channel = None
        self._loop.cancel(self._timer)

    def _declare(self, connection: Connection) -> None:
        if connection is self._connection:
            step = queue(connection.version, self._expires)
            declare_steps(connection, [step], partial(self._declared, connection))

    def _declared(self, connection: Connection, error: AmqtaskError | None) -> None:
        if connection is not self._connection:
            return
        if error is None:
            self._open(connection)
        elif not isinstance(error, BrokerUnavailable):
            logger.error("Revocations can't be read; only those sent by remote control take effect now: %s", error)
            self._caught_up()

    def _open(self, connection: Connection) -> None:
        if connection is self._connection:
            connection.open_channel(partial(self._opened, connection), partial(self._closed, connection))

    def _opened(self, connection: Connection, channel: Channel) -> None:
        if connection is not self._connection:
            channel.close()
            return
        self._channel = channel
        channel.add_on_cancel_callback(lambda _: self._cancelled(connection, channel))
        if has_streams(connection.version):
            channel.basic_qos(prefetch_count=_PREFETCH)
            from_start = {"x-stream-offset": "first"}
            channel.basic_consume(QUEUE, self._deliver, arguments=from_start, callback=lambda _: self._put_mark())
        else:
            channel.basic_consume(QUEUE, self._deliver, exclusive=True, callback=lambda _: self._look(channel, 2))

    def _closed(self, connection: Connection, code: int, text: str) -> None:
        self._channel = None
        if connection is not self._connection or self._looked or code in _ENDS:
            return
        in_use = code == ACCESS_REFUSED and not has_streams(connection.version)
        if in_use:
            self._loop.call_later(_TURN, lambda: self._open(connection))
        else:
            logger.warning("Reading revocations was interrupted: %s %s", code, text)
            self._again(connection)

    def _cancelled(self, connection: Connection, channel: Channel) -> None:
        """Somebody has deleted the queue, or its node went."""
        logger.warning("Reading revocations was interrupted: the broker has cancelled it")
        channel.close()
        self._again(connection)

    def _again(self, connection: Connection) -> None:
        self._loop.call_later(_AGAIN, lambda: self._declare(connection))

    # -- a stream -------------------------------------------------------------------------------------------------

    def _put_mark(self) -> None:
        if self._behind:
            self._mark = new_id()
            self._publisher.publish(message(Tombstone(0.0, mark=self._mark)), _PATIENCE, _marked)

    # -- a classic queue ------------------------------------------------------------------------------------------

    def _look(self, channel: Channel, times: int) -> None:
        """What the queue held comes before the answer: for sure before the second one."""
        if times:
            channel.queue_declare(QUEUE, passive=True, callback=lambda _: self._look(channel, times - 1))
        else:
            self._looked = True
            channel.close()
            self._caught_up()

    # -- entries --------------------------------------------------------------------------------------------------

    def _deliver(self, channel: Channel, method: Method, properties: PropertiesLike, body: bytes) -> None:
        if self._connection is not None and has_streams(self._connection.version):
            channel.basic_ack(method.delivery_tag)
        try:
            entry = read(body)
        except DecodeError as error:
            self._refusals.tell(error)
            return
        if not entry.mark:
            self._take(entry, properties, body)
        if self._behind:
            self._wait()
            if entry.mark and entry.mark == self._mark:
                self._caught_up()

    def _take(self, entry: Tombstone, properties: PropertiesLike, body: bytes) -> None:
        try:
            self._signer.verify(properties, body, TOMBSTONE, any_age=True)
        except DecodeError as error:
            self._refusals.tell(error)
        else:
            self._found(entry)

    def _caught_up(self) -> None:
        self._loop.cancel(self._timer)
        if self._behind:
            self._behind = False
            self._on_caught_up()

    def _wait(self) -> None:
        self._loop.cancel(self._timer)
        if self._behind:
            self._timer = self._loop.call_later(_PATIENCE, self._give_up)

    def _give_up(self) -> None:
        logger.warning("Not all revocations have been read in %.0fs; work goes on without the rest", _PATIENCE)
        self._caught_up()


def _marked(error: BrokerError | EncodeError | None) -> None:
    if error is not None:
        logger.warning("The mark that ends the reading of revocations could not be set: %s", error)
