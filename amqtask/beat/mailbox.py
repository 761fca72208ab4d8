"""The scheduler's mailbox of remote control: it answers ``ping``, by which one sees that it is there. Owns its channel.

Schedulers of one machine have one name, and the one that came first has the mailbox; the others wait for it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.broker.declare import declare_steps, send_step
from amqtask.broker.pika_driver import to_pika
from amqtask.control.messages import read_request, reply_message
from amqtask.errors import AmqtaskError, BrokerUnavailable
from amqtask.wire.lamport import LamportClock
from amqtask.wire.signing import REPLY, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.broker.interface import Channel, Connection, Loop, Method
    from amqtask.control.messages import Names
    from amqtask.wire.message import PropertiesLike
    from amqtask.wire.signing import Signer

logger = logging.getLogger("amqtask.beat")

_AGAIN = 5.0
"""Seconds before a mailbox that another scheduler has is tried again."""


class Mailbox:
    """See the module. Lives on the scheduler's loop.

    Args:
        loop: of the scheduler.
        node: its name.
        names: of remote control.
        accept: formats that requests may have.
        signer: of the app.
    """

    def __init__(self, loop: Loop, node: str, names: Names, accept: Sequence[str], signer: Signer) -> None:
        self._loop, self._node, self._names, self._accept, self._signer = loop, node, names, accept, signer
        self._clock = LamportClock()
        self._connection: Connection | None = None

    def connected(self, connection: Connection) -> None:
        """There is a connection: open the mailbox."""
        self._connection = connection
        self._open(connection)

    def _open(self, connection: Connection) -> None:
        if connection is self._connection:
            declare_steps(connection, self._names.exchanges(), partial(self._declared, connection))

    def _declared(self, connection: Connection, error: AmqtaskError | None) -> None:
        if error is None and connection is self._connection:
            connection.open_channel(self._opened, partial(self._ended, connection))
        elif error is not None and not isinstance(error, BrokerUnavailable):
            logger.warning("The scheduler can't be pinged: %s", error)

    def _opened(self, channel: Channel) -> None:
        queue, binding = self._names.mailbox(self._node)
        send_step(channel, queue, lambda _: None)
        send_step(channel, binding, lambda _: None)
        channel.basic_consume(queue.name, self._deliver, auto_ack=True)

    def _ended(self, connection: Connection, code: int, text: str) -> None:
        if code:
            logger.debug("The mailbox %s is not open: %d %s", self._node, code, text)
            self._loop.call_later(_AGAIN, partial(self._open, connection))

    def _deliver(self, channel: Any, _method: Method, properties: PropertiesLike, body: bytes) -> None:
        try:
            request = read_request(properties, body, self._accept)
        except AmqtaskError as error:
            logger.debug("A message in the mailbox is ignored: %s", error)
            return
        self._clock.adjust(request.clock)
        wanted = request.reply_to is not None and request.reply_to[0] == self._names.replies
        if wanted and request.method == "ping" and request.is_for(self._node):
            answer = reply_message(request, self._node, {"ok": "pong"}, self._clock.tick())
            asked = (properties.headers or {}).get(SIGNATURE)
            answer = self._signer.signed(answer, REPLY, request.ticket, asked, needed=False)
            channel.basic_publish(answer.exchange, answer.routing_key, answer.body, to_pika(answer.properties))
