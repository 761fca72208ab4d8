"""The worker's mailbox: a queue that only this worker has, on its consuming connection. Owns its channel.

The queue is exclusive and named after the node, so a second worker of the same name finds it taken: a worker whose
name was chosen ends then, if the other one answers: who asks for a worker by name must reach exactly one. Any other
does without remote control until the name is free.

Answers go out on the publishing connection: a broker in need stops reading from connections that publish, and this
one has to ack.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.broker.codes import RESOURCE_LOCKED
from amqtask.broker.declare import declare_steps, send_step
from amqtask.errors import BrokerError, BrokerUnavailable, ConfigError, EncodeError
from amqtask.worker.control.namesake import Namesake

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop, Method
    from amqtask.broker.publisher import Publisher
    from amqtask.control.messages import Names
    from amqtask.errors import AmqtaskError
    from amqtask.wire.message import Outgoing, PropertiesLike
    from amqtask.worker.control.dispatch import Dispatcher

logger = logging.getLogger("amqtask.worker.control")

_TAKEN_PATIENCE = 1.0
"""Seconds in which the queue of a process that has just ended becomes free."""

_PAUSE = 0.5
"""Seconds before the mailbox is tried again, at first; longer each time."""

_LONGEST_PAUSE = 60.0

_ANSWERING = 5.0
"""Seconds in which an answer must be sent; after that nobody waits for it."""


class Mailbox:
    """See the module. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        node: name of this worker.
        names: of remote control.
        dispatcher: answers.
        publisher: sends the answers.
        taken: called once when another worker has this name and goes on having it; None: that is only logged.
    """

    def __init__(
        self,
        loop: Loop,
        node: str,
        names: Names,
        dispatcher: Dispatcher,
        publisher: Publisher,
        taken: Callable[[ConfigError], None] | None,
    ) -> None:
        self._loop, self._node, self._names = loop, node, names
        self._dispatcher, self._publisher, self._taken = dispatcher, publisher, taken
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._pause = _PAUSE
        self._since: float | None = None
        """Monotonic time of the connection."""
        self._was_open = self._warned = self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether requests reach this worker."""
        return self._was_open and self._channel is not None

    def connected(self, connection: Connection) -> None:
        """There is a connection: open the mailbox."""
        if not self._closed:
            self._connection, self._pause, self._since = connection, _PAUSE, clock.monotonic()
            self._open(connection)

    def disconnected(self) -> None:
        """The connection is gone, and the queue with it."""
        self._connection = self._channel = None

    def close(self) -> None:
        """Give the name up: whoever takes this worker's place needs it."""
        self._closed = True
        channel, self._channel, self._connection = self._channel, None, None
        if channel is not None and channel.is_open:
            channel.close()

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self, connection: Connection) -> None:
        if connection is self._connection:
            declare_steps(connection, self._names.exchanges(), partial(self._declared, connection))

    def _declared(self, connection: Connection, error: AmqtaskError | None) -> None:
        if error is None and connection is self._connection:
            connection.open_channel(partial(self._opened, connection), partial(self._ended, connection))
        elif error is not None and not isinstance(error, BrokerUnavailable):
            self._again(connection, f"its exchanges can't be declared: {error}")

    def _opened(self, connection: Connection, channel: Channel) -> None:
        if connection is not self._connection:
            channel.close()
            return
        self._channel = channel
        channel.add_on_cancel_callback(lambda _: channel.close())  # somebody has deleted the queue: make it again
        queue, binding = self._names.mailbox(self._node)
        send_step(channel, queue, lambda _: None)
        send_step(channel, binding, lambda _: None)
        channel.basic_consume(queue.name, self._deliver, auto_ack=True, callback=self._consuming)

    def _consuming(self, _frame: Any) -> None:
        if self._warned:
            logger.info("Remote control reaches this worker again")
        self._was_open, self._warned, self._pause = True, False, _PAUSE

    def _ended(self, connection: Connection, code: int, text: str) -> None:
        self._channel = None
        if self._closed or connection is not self._connection:
            return
        if code != RESOURCE_LOCKED:
            self._again(connection, f"its channel was closed: {code} {text}" if code else None)
            return
        patient = clock.monotonic() - (self._since or 0.0) <= _TAKEN_PATIENCE
        if patient or self._taken is None or self._was_open:
            self._again(connection, None if patient else f"another worker is named {self._node}; see -n")
        else:
            namesake = Namesake(
                self._loop, self._names, self._node, self._publisher, partial(self._is_taken, connection)
            )
            namesake.ask(connection)

    def _is_taken(self, connection: Connection, answered: bool) -> None:
        """Another worker has the name; or it is that of one that has gone, and the broker has not missed it yet."""
        if self._closed or connection is not self._connection:
            return
        if answered and self._taken is not None:
            self._taken(ConfigError(f"another worker is named {self._node}; give this one another name: -n w2@%h"))
        else:
            self._again(connection, f"its queue belongs to another connection, where no {self._node} answers")

    def _again(self, connection: Connection, problem: str | None) -> None:
        if problem is not None and not self._warned:
            self._warned = True
            logger.warning("Remote control can't reach this worker: %s; trying until it works", problem)
        self._loop.call_later(self._pause, lambda: self._open(connection))
        longest = _LONGEST_PAUSE if problem is not None else _PAUSE
        self._pause = min(2 * self._pause, longest)

    # -- requests -------------------------------------------------------------------------------------------------

    def _deliver(self, _channel: Channel, _method: Method, properties: PropertiesLike, body: bytes) -> None:
        try:
            answer = self._dispatcher.take(properties, body)
        except Exception:
            logger.exception("A request of remote control could not be handled")
            return
        if answer is not None:
            self._answer(answer)

    def _answer(self, answer: Outgoing) -> None:
        try:
            self._publisher.publish(answer, _ANSWERING, _sent)
        except (BrokerError, EncodeError) as error:  # too large
            _sent(error)


def _sent(error: BrokerError | EncodeError | None) -> None:
    if error is not None:
        logger.debug("An answer of remote control was not sent: %s", error)
