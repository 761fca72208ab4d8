"""Is there really another worker of this name? Owns asking it.

A mailbox that is taken may belong to a connection that the broker has not yet missed: of a machine that lost its power,
say. Such a one does not answer, and will be gone when its heartbeats have failed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from amqtask.broker.declare import send_step
from amqtask.control.messages import Request, request_message
from amqtask.errors import BrokerError, EncodeError
from amqtask.wire.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop
    from amqtask.broker.publisher import Publisher
    from amqtask.control.messages import Names

_PATIENCE = 2.0
"""Seconds in which a worker that lives has answered."""


class Namesake:
    """One question. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        names: of remote control.
        node: the name.
        publisher: sends the question.
        answered: told once whether it has answered.
    """

    def __init__(
        self, loop: Loop, names: Names, node: str, publisher: Publisher, answered: Callable[[bool], None]
    ) -> None:
        self._names, self._node, self._publisher = names, node, publisher
        self._answered: Callable[[bool], None] | None = answered
        self._oid = new_id()
        self._channel: Channel | None = None
        self._loop = loop

    def ask(self, connection: Connection) -> None:
        """Ask, over this connection."""
        self._loop.call_later(_PATIENCE, partial(self._end, answered=False))
        connection.open_channel(self._opened, lambda _code, _text: None)

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        queue, binding = self._names.reply_queue(self._oid)
        send_step(channel, queue, lambda _: None)
        send_step(channel, binding, lambda _: None)
        heard = partial(self._end, answered=True)
        channel.basic_consume(queue.name, lambda *_: heard(), auto_ack=True, callback=lambda _: self._send())

    def _send(self) -> None:
        request = Request("ping", destination=[self._node], ticket=self._oid, reply_to=(self._names.replies, self._oid))
        try:
            self._publisher.publish(request_message(self._names, request), _PATIENCE, lambda _: None)
        except (BrokerError, EncodeError):  # then nobody answers
            return

    def _end(self, *, answered: bool) -> None:
        tell, self._answered = self._answered, None
        if self._channel is not None and self._channel.is_open:
            self._channel.close()
        if tell is not None:
            tell(answered)
