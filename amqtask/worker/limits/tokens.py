"""Tokens taken from a queue, as many as are wanted and no more. Owns the channel and the seats on it.

A seat is a consumer with a prefetch of one: it waits for a token, or holds one unacknowledged. So a worker never holds
tokens that it does not use, the broker shares them out among all who wait, and gives back those of a worker that dies.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.worker.limits.filling import Filling

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Method
    from amqtask.broker.loop import SelectLoop
    from amqtask.broker.publisher import Publisher
    from amqtask.errors import BrokerError
    from amqtask.worker.limits.layout import TokenLayout

logger = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds until the next attempt when the broker refuses."""

_NO_CONNECTION = 0.2

_IDLE = 5.0
"""Seconds for which the channel stays open when nothing is wanted."""

_FIRST = {"x-priority": 1}
"""Of a seat that takes the place of another: what that one gives back comes here, not to somebody who waits."""


class Seat:
    """A consumer that waits for a token, or holds one.

    Attributes:
        tag: of the consumer.
        token: delivery tag of the token; 0 while it waits.
        since: monotonic time at which the token came.
        leaving: it is being cancelled.
        renewing: it waits, and its owner need not know.
    """

    __slots__ = ("leaving", "renewing", "since", "tag", "token")

    def __init__(self, tag: str) -> None:
        self.tag, self.token, self.since = tag, 0, 0.0
        self.leaving = self.renewing = False


class Owner(Protocol):
    """Told what comes."""

    def granted(self, seat: Seat) -> None:
        """A token has come; to be given to :meth:`Tokens.release` in the end."""

    def lost(self) -> None:
        """All seats are gone, with the tokens they held."""


class Tokens:
    """The tokens of one limit, as one worker takes them. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        connection: the worker's, while it stands.
        publisher: adds tokens that are missing.
        layout: of the limit.
        owner: of the seats.
    """

    def __init__(
        self,
        loop: SelectLoop,
        connection: Callable[[], Connection | None],
        publisher: Publisher,
        layout: TokenLayout,
        owner: Owner,
    ) -> None:
        self._loop, self._connection, self._publisher = loop, connection, publisher
        self._layout, self._owner = layout, owner
        self._numbers = itertools.count(1)
        self._seats: dict[str, Seat] = {}
        self._wanted = 0
        self._channel: Channel | None = None
        self._filling: Filling | None = None
        """While it is being made ready, until the first seat stands."""
        self._busy = False
        self._insist = True
        """What this worker means by the limit counts when it starts; later it takes what others have made of it."""
        self._told = False
        self._closed = False

    # -- what the owner says -----------------------------------------------------------------------

    def want(self, wanted: int) -> None:
        """This many seats shall wait for a token."""
        self._wanted = wanted
        if self._channel is None:
            self._open()
            return
        if not self._channel.is_open:  # its end is about to be told
            return
        waiting = self._waiting()
        for _ in range(wanted - len(waiting)):
            self._sit({})
        for seat in waiting[wanted:]:
            self._leave(seat, lambda: None)

    def release(self, seat: Seat, wanted: int, *, spend: bool) -> None:
        """A token is not held any longer.

        Args:
            seat: that holds it.
            wanted: as for :meth:`want`, from now on.
            spend: it may be used again after the period only.
        """
        if self._seats.get(seat.tag) is not seat or self._channel is None or not self._channel.is_open:
            self.want(wanted)
            return
        seat.renewing = False
        if not seat.token:  # given back a moment ago, to be taken anew
            self.want(wanted)
            return
        token, seat.token = seat.token, 0
        if len(self._waiting()) <= wanted:
            self._settle(token, spend=spend)
        else:
            # cancelled first, so that the token goes to somebody who waits
            self._leave(seat, lambda: self._settle(token, spend=spend))
        self.want(wanted)

    def renew(self, seat: Seat) -> None:
        """Hold the token as if anew: a broker takes away what is held for too long."""
        if self._channel is None or not self._channel.is_open or seat.tag not in self._seats or not seat.token:
            return
        old, token = Seat(seat.tag), seat.token
        old.leaving = True
        self._seats[old.tag] = old
        seat.token, seat.renewing = 0, True

        def swap() -> None:
            if self._channel is not None and self._channel.is_open:
                self._leave(old, lambda: self._settle(token, spend=False))

        self._sit(_FIRST, seat, swap)

    def close(self) -> None:
        """Give back everything, for good."""
        self._closed, self._wanted = True, 0
        self._unlock()
        self._drop()

    # -- the channel -------------------------------------------------------------------------------

    def _open(self) -> None:
        connection = self._connection()
        if self._busy or self._closed or not self._wanted:
            return
        self._busy = True
        if connection is None:
            self._again(_NO_CONNECTION)
            return

        def prepared(error: BrokerError | None) -> None:
            if error is None:
                self._insist = self._told = False
                self._open_channel(connection)
                return
            if not self._told and not self._closed:
                logger.warning("The tokens of %s can't be taken: %s; will keep trying", self._layout.tokens, error)
                self._told = True
            self._filling = None
            self._again()

        self._filling = Filling(
            self._loop, connection, self._publisher, self._layout, insist=self._insist, prepared=prepared
        )
        self._filling.begin()

    def _open_channel(self, connection: Connection) -> None:
        mine: list[Channel] = []

        def opened(channel: Channel) -> None:
            mine.append(channel)
            self._opened(channel)

        def ended(code: int, text: str) -> None:
            if not mine or mine[0] is self._channel:  # else it was left before
                self._ended(code, text)

        connection.open_channel(opened, ended)

    def _again(self, pause: float | None = None) -> None:
        def retry() -> None:
            self._busy = False
            self._open()

        self._loop.call_later(pause or _PAUSE, retry)

    def _opened(self, channel: Channel) -> None:
        self._channel, self._busy = channel, False
        channel.add_on_cancel_callback(lambda _: self._deleted())
        channel.basic_qos(prefetch_count=1)
        self.want(self._wanted)
        if not self._seats:
            self._unlock()
            self._close_when_idle()

    def _ended(self, code: int, text: str) -> None:
        """The channel is gone: closed by the broker, or with the connection."""
        if code and not self._closed:
            logger.warning("The tokens of %s are taken away: %s %s", self._layout.tokens, code, text)
        self._busy = True
        self._forget()
        self._again()

    def _drop(self) -> None:
        """Close the channel, which gives everything back at once."""
        channel = self._channel
        self._busy = True  # nothing is opened before it is closed
        self._forget()
        if channel is not None and channel.is_open:
            channel.close()
        self._busy = False

    def _deleted(self) -> None:
        """The queue is gone, maybe to be made anew with another limit: that takes a moment."""
        if self._channel is not None:
            self._drop()
            self._busy = True
            self._again()

    def _forget(self) -> None:
        self._channel = None
        self._unlock()
        had, self._seats = bool(self._seats), {}
        if had:
            self._owner.lost()

    def _unlock(self) -> None:
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.unlock()

    def _close_when_idle(self) -> None:
        channel = self._channel

        def idle() -> None:
            if channel is not None and channel is self._channel and not self._seats:
                self._drop()

        if not self._seats:
            self._loop.call_later(_IDLE, idle)

    # -- seats -------------------------------------------------------------------------------------

    def _waiting(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if not (seat.token or seat.leaving or seat.renewing)]

    def _sit(self, arguments: dict[str, Any], seat: Seat | None = None, then: Callable[[], None] | None = None) -> None:
        channel = self._channel
        assert channel is not None
        tag = f"limit-{next(self._numbers)}"
        seat = seat or Seat(tag)
        seat.tag = tag
        self._seats[tag] = seat

        def seated(_: Any) -> None:
            self._unlock()
            if then is not None:
                then()

        channel.basic_consume(
            self._layout.tokens,
            lambda _channel, method, _properties, _body: self._came(channel, seat, method),
            consumer_tag=tag,
            arguments=arguments,
            callback=seated,
        )

    def _came(self, channel: Channel, seat: Seat, method: Method) -> None:
        if channel is not self._channel:
            return
        if seat.tag != method.consumer_tag or seat.leaving:
            self._settle(method.delivery_tag, spend=False)  # it was on its way while the seat was given up
            return
        seat.token, seat.since = method.delivery_tag, clock.monotonic()
        if seat.renewing:
            seat.renewing = False
        else:
            self._owner.granted(seat)

    def _leave(self, seat: Seat, then: Callable[[], None]) -> None:
        channel = self._channel
        assert channel is not None
        seat.leaving = True

        def left(_: Any) -> None:
            if channel is self._channel:
                self._seats.pop(seat.tag, None)
                then()
                self._close_when_idle()

        channel.basic_cancel(seat.tag, left)

    def _settle(self, token: int, *, spend: bool) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_nack(token, requeue=not spend)
