"""Deliveries that wait for tokens: whose turn it is, and what becomes of tokens that nobody comes to use.

Owns the queue in front of one limit over all workers. A token calls the next delivery forward; it is used when that
delivery is asked about again, which is when there is a slot for it. When all slots are taken meanwhile the token goes
back, for somebody else may have a slot; the next one here is left free for the moment that it takes to come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.limits.parked import Parked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.broker.interface import Loop
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.limits.station import Readmit
    from amqtask.worker.limits.tokens import Seat, Tokens

_PATIENCE = 1.0
"""Seconds for which a token waits for the delivery that it has called."""

_MOMENT = 0.5
"""Seconds for which a slot waits for a token: else others that are never held up would always be faster."""


class Turnstile:
    """The common part of limits over all workers; see :class:`~amqtask.worker.limits.station.Station`.

    Args:
        loop: of the I/O thread.
        readmit: for whose turn it is.
        slots: of the pool, now.
        seats: how many tokens may be waited for at once, if there are slots.
    """

    tokens: Tokens
    reserve: Callable[[int, float], None] = staticmethod(lambda _key, _seconds: None)
    """See :class:`~amqtask.worker.limits.wiring.LimitHost`."""

    def __init__(self, loop: Loop, readmit: Readmit, slots: Callable[[], int], seats: int) -> None:
        self._loop, self._readmit, self._slots, self._seats = loop, readmit, slots, seats
        self._parked = Parked()
        self._called: dict[int, Seat | None] = {}
        """Called forward and not asked about yet; None: with the token gone again, so that it will have to wait."""
        self._promised: set[int] = set()
        """For these a slot is left free."""

    def passes(self, delivery: Delivery) -> bool:
        """See Station; so for the others."""
        called = delivery.key in self._called
        seat = self._called.pop(delivery.key, None)
        if seat is None:
            self._parked.push(delivery)
            if called:
                self._promise(delivery.key)
            self.tokens.want(self._wanted())
            return False
        self._use(delivery, seat)
        return True

    def _promise(self, key: int) -> None:
        """It is its turn, and there is a slot, but its token has gone back."""
        self._promised.add(key)
        self.reserve(key, _MOMENT)
        self._loop.call_later(_MOMENT, lambda: self._promised.discard(key))

    def _use(self, delivery: Delivery, seat: Seat) -> None:
        """It starts with this token."""
        raise NotImplementedError

    def leave(self, key: int) -> None:
        """It was revoked, for example, while it waited for a slot."""
        self._promised.discard(key)
        if key in self._called:
            self._return(self._called.pop(key))

    def clear(self) -> list[Delivery]:
        """Nobody waits any more."""
        parked = self._parked.clear()
        self._promised.clear()
        called, self._called = self._called, {}
        self._return_soon(called.values())
        return parked

    def _return_soon(self, seats: Iterable[Seat | None]) -> None:
        """Not at once: a connection may be going, and the channel of the tokens be told next."""
        returned = [seat for seat in seats if seat is not None]

        def give_back() -> None:
            for seat in returned:
                self._return(seat)
            self.tokens.want(self._wanted())

        self._loop.call_later(0, give_back)

    def close(self) -> None:
        """Give everything back."""
        self.tokens.close()

    @property
    def idle(self) -> bool:
        """Nobody waits here."""
        return not (self._parked or self._called)

    # -- told by the tokens --------------------------------------------------------------------------

    def granted(self, seat: Seat) -> None:
        """A token has come."""
        delivery = self._parked.pop()
        if delivery is None:
            self._return(seat)
            return
        key = delivery.key
        self._promised.discard(key)
        self._called[key] = seat
        self._loop.call_later(_PATIENCE, lambda: self._unused(key, seat))
        self._readmit(delivery)

    def lost(self) -> None:
        """All tokens are gone."""
        self._called = dict.fromkeys(self._called)

    # ----

    def _wanted(self) -> int:
        """As long as somebody waits for a slot with no token any more, there is no use for tokens but where one is."""
        if None in self._called.values():
            return len(self._promised)
        return min(len(self._parked), self._seats, max(1, self._slots()))

    def _unused(self, key: int, seat: Seat) -> None:
        if self._called.get(key) is seat:
            self._called[key] = None
            self._return(seat)

    def _return(self, seat: Seat | None) -> None:
        if seat is None:
            self.tokens.want(self._wanted())
        else:
            self.tokens.release(seat, self._wanted(), spend=False)
