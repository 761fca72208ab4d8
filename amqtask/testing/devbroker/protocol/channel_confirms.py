"""Publisher confirms of one channel. Owns the numbers of publishes and which of them can be confirmed in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.protocol import frames

if TYPE_CHECKING:
    from amqtask.testing.devbroker.protocol.session import Session


class Confirms:
    """Confirms of a channel, sent when all that came in one read has been worked through.

    Attributes:
        active: whether the client asked for them.
    """

    __slots__ = ("_channel", "_first", "_last", "_number", "_session", "_withheld", "active")

    def __init__(self, channel: int, session: Session) -> None:
        self._channel, self._session = channel, session
        self.active = False
        self._number = 0
        # What is accepted and not yet told: first to last, none when last is below first.
        self._first, self._last = 1, 0
        self._withheld: set[int] = set()

    def next(self) -> int:
        """The number of a publish."""
        self._number += 1
        return self._number

    def accept(self, number: int) -> None:
        """The broker has the message."""
        if self._session.state.faults.armed and self._withhold(number):
            return
        if self._first > self._last:
            self._first = number
            self._session.outbox.send_at_end(self.tell)
        elif number != self._last + 1:
            self.tell()
            self._first = number
        self._last = number

    def refuse(self, number: int) -> None:
        """A queue refused the message."""
        self._session.outbox.send(frames.confirm(self._channel, number, accepted=False))

    def tell(self) -> None:
        """Send what was accepted so far."""
        first, last = self._first, self._last
        if first > last:
            return
        self._first, self._last = last + 1, last
        send = self._session.outbox.send
        # "multiple" covers every lower number, so not when one of them is still to come or never will.
        if first < last and not any(number < last for number in self._withheld):
            send(frames.confirm(self._channel, last, multiple=True))
        else:
            for number in range(first, last + 1):
                send(frames.confirm(self._channel, number))

    def close(self) -> None:
        """Nothing is told any more."""
        self.active = False
        self._withheld.clear()
        self._first, self._last = 1, 0

    def _withhold(self, number: int) -> bool:
        state, vhost = self._session.state, self._session.vhost.name
        if state.faults.take("drop", vhost):
            self._withheld.add(number)
            return True
        if seconds := state.faults.delayed("confirm", vhost):
            self._withheld.add(number)
            state.scheduler.call_later(seconds, lambda: self._tell_late(number))
            return True
        return False

    def _tell_late(self, number: int) -> None:
        if self.active:
            self._withheld.discard(number)
            self._session.outbox.send(frames.confirm(self._channel, number))
