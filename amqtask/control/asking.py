"""One question to workers and its answers, over a connection of its own. Owns that connection and when to stop waiting.

The queue for the answers is exclusive to the connection: nothing is left of it, however the process ends.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.broker.codes import ACCESS_REFUSED
from amqtask.broker.declare import declare_steps, send_step
from amqtask.broker.link import Link
from amqtask.broker.pika_driver import new_loop
from amqtask.broker.transient import TransientChannel
from amqtask.control.messages import read_reply, request_message
from amqtask.errors import AccessRefused, AmqtaskError, BrokerBlocked, BrokerUnavailable, DecodeError
from amqtask.wire.ids import new_id
from amqtask.wire.refusals import Refusals
from amqtask.wire.signing import REPLY, REQUEST, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amqtask.broker.interface import Channel, Connection, Method, Reachable
    from amqtask.control.messages import Names, Request
    from amqtask.errors import BrokerError
    from amqtask.wire.message import PropertiesLike
    from amqtask.wire.signing import Signer

logger = logging.getLogger(__name__)

_CLOSING = 3.0
"""Seconds that the end of the connection may take."""

_CONNECTING = 10.0
"""Seconds to get to the broker."""


def answers(
    app: Reachable,
    names: Names,
    request: Request,
    signer: Signer,
    *,
    timeout: float,
    limit: int | None,
    accept: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Ask, and yield each ``{node: value}`` as it comes. To be closed, or read to its end.

    Args:
        app: where to ask.
        names: of remote control there.
        request: what to ask; ticket and address are put in.
        signer: of the app.
        timeout: seconds to wait for answers once the question is sent.
        limit: answers after which nobody waits any more; None: as many as there are destinations, if there are.
        accept: formats that answers may have.

    Raises:
        BrokerError: the broker can't be reached, or does not let us ask.
    """
    if limit is None and request.destination is not None:
        limit = len(set(request.destination))
    question = _Question(app, names, request, signer, timeout, accept)
    try:
        yield from question.replies(limit)
    finally:
        question.close()


class _Question:
    """The connection, from its opening to its end; driven by the thread that waits."""

    def __init__(
        self, app: Reachable, names: Names, request: Request, signer: Signer, timeout: float, accept: Sequence[str]
    ) -> None:
        self._names, self._signer, self._timeout, self._accept = names, signer, timeout, accept
        self._refusals = Refusals(logger, "An answer of remote control")
        self._signature: str | None = None
        self._oid = new_id()
        address = (names.replies, self._oid)
        self._request = replace(request, ticket=new_id(), reply_to=address)
        self._loop = new_loop()
        self._replies: deque[dict[str, Any]] = deque()
        self._error: AmqtaskError | None = None
        self._deadline = clock.monotonic() + _CONNECTING
        self._asked = self._over = False
        self._blocked: str | None = None
        self._sender: TransientChannel | None = None
        options = replace(app.connection_options, name=f"{app.connection_options.name} (control)")
        self._link = Link(
            self._loop, app.broker_urls, options, on_up=self._up, on_down=self._down, on_blocked=self._note_blocked
        )

    def replies(self, limit: int | None) -> Iterator[dict[str, Any]]:
        self._link.start()
        given = 0
        while limit is None or given < limit:
            if self._replies:
                given += 1
                yield self._replies.popleft()
                continue
            if self._error is not None:
                raise self._error
            left = self._deadline - clock.monotonic()
            if self._over or left <= 0:
                break
            self._loop.turn(left)
        if not self._asked:
            raise BrokerUnavailable(f"the question could not be asked within {_CONNECTING:g} s")
        if not given and self._blocked is not None:
            raise BrokerBlocked(f"the broker blocks publishers ({self._blocked}): the question waits there")

    def close(self) -> None:
        """Close the connection, and wait for that."""
        ended: list[bool] = []
        self._link.stop(lambda: ended.append(True))
        deadline = clock.monotonic() + _CLOSING
        while not ended and (left := deadline - clock.monotonic()) > 0:
            self._loop.turn(left)
        self._link.release()
        self._loop.close()

    # -- the connection -------------------------------------------------------------------------------------------

    def _down(self, error: BrokerError) -> None:
        if self._asked or isinstance(error, AccessRefused) or self._link.round_failed:
            self._error = error

    def _note_blocked(self, reason: str | None) -> None:
        self._blocked = reason

    def _up(self, connection: Connection) -> None:
        declare_steps(connection, self._names.exchanges(), partial(self._declared, connection))

    def _declared(self, connection: Connection, error: AmqtaskError | None) -> None:
        if error is None:
            connection.open_channel(partial(self._receive, connection), self._closed)
        elif not isinstance(error, BrokerUnavailable):
            self._error = error

    def _closed(self, code: int, text: str) -> None:
        if code:
            kind = AccessRefused if code == ACCESS_REFUSED else BrokerUnavailable
            self._error = kind(f"the broker closed the channel for answers: {code} {text}")

    def _receive(self, connection: Connection, channel: Channel) -> None:
        queue, binding = self._names.reply_queue(self._oid)
        send_step(channel, queue, lambda _: None)
        send_step(channel, binding, lambda _: None)
        channel.basic_consume(queue.name, self._take, auto_ack=True, callback=lambda _: self._open_sender(connection))

    def _open_sender(self, connection: Connection) -> None:
        self._sender = TransientChannel(
            connection, on_open=lambda _: self._ask(), on_closed=self._closed, on_return=lambda _: self._nobody()
        )

    def _ask(self) -> None:
        assert self._sender is not None
        self._asked = True
        self._deadline = clock.monotonic() + self._timeout
        request = replace(self._request, expires=clock.wall() + self._timeout)
        message = request_message(self._names, request)
        signed = self._signer.signed(message, REQUEST, needed=False)
        self._signature = (signed.properties.headers or {}).get(SIGNATURE)
        self._sender.publish(signed, mandatory=True)

    def _nobody(self) -> None:
        """No worker listens at all."""
        self._over = True

    def _take(self, _channel: Channel, _method: Method, properties: PropertiesLike, body: bytes) -> None:
        ticket = (properties.headers or {}).get("ticket")
        if ticket not in (None, self._request.ticket):
            return
        try:
            self._signer.verify(properties, body, REPLY, self._request.ticket, self._signature, any_age=True)
        except DecodeError as error:
            self._refusals.tell(error)
            return
        try:
            self._replies.append(read_reply(properties, body, self._accept))
        except (DecodeError, AmqtaskError) as error:
            logger.warning("An answer could not be read: %s", error)
