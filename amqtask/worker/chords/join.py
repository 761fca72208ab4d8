"""One chord queue and this worker: does on the broker what :mod:`.state` decides. Owns the consuming channel.

A channel per attempt to collect: a refused consumer costs the channel, and closing it returns what was not acked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.broker.codes import ACCESS_REFUSED
from amqtask.broker.faults import is_gone
from amqtask.worker.chords.looks import PAUSE
from amqtask.worker.chords.state import Action, ChordState, Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop, Method
    from amqtask.wire.message import PropertiesLike
    from amqtask.worker.chords.looks import ChordLooks
    from amqtask.worker.chords.messages import ChordMessages
    from amqtask.worker.chords.place import ChordPlace

logger = logging.getLogger(__name__)

_QUIET = 0.25
"""Seconds without a message after which no more is expected; doubled after each attempt in vain."""

_QUIET_MAX = 8.0


class Host(Protocol):
    """What a join needs of the worker."""

    loop: Loop
    looks: ChordLooks
    messages: ChordMessages

    def connection(self) -> Connection | None:
        """The connection, when there is one."""

    def dispatch(self, join: ChordJoin, results: list[bytes] | None, done: Callable[[], None]) -> None:
        """Send the body, or its failure for want of results."""


class ChordJoin:
    """Lives on the I/O thread, while somebody waits for it.

    Args:
        host: the worker.
        place: the queue.
        signature: of the body.
    """

    def __init__(self, host: Host, place: ChordPlace, signature: dict[str, Any]) -> None:
        self._host, self.place, self.signature = host, place, signature
        self.state = ChordState(place.size)
        self._waiters: list[tuple[int, Callable[[bool], None]]] = []
        self._channel: Channel | None = None
        self._arrivals = 0
        self._quiet = _QUIET

    @property
    def idle(self) -> bool:
        """Nobody waits, and nothing is under way."""
        return not self._waiters and self.state.phase in (Phase.IDLE, Phase.OVER)

    def want(self, done: Callable[[bool], None], *, expired: bool = False) -> None:
        """Have the queue looked at, from now on; ``done`` is told whether the chord is over.

        Args:
            done: called once, never from within this call.
            expired: the deadline has passed: fail the body unless all members are there.
        """
        if expired:
            self.state.expire()
        ticket, action = self.state.want()
        self._waiters.append((ticket, done))
        self._act(action)

    def _act(self, action: Action) -> None:
        host = self._host
        if action is Action.LOOK:
            host.looks.look(self.place.queue, lambda ready: self._act(self.state.looked(ready)))
        elif action is Action.JOIN:
            self._join()
        elif action is Action.WAIT:
            host.loop.call_later(PAUSE, lambda: self._act(self.state.waited()))
        elif action is Action.DISPATCH:
            host.dispatch(self, self.state.results(), lambda: self._act(self.state.dispatched()))
        elif action is Action.DELETE:
            self._delete()
        elif action is Action.RELEASE:
            self._release()
        self._tell()

    def _tell(self) -> None:
        over, settled = self.state.over, self.state.settled
        told = [waiter for waiter in self._waiters if over or waiter[0] <= settled]
        self._waiters = [waiter for waiter in self._waiters if waiter not in told]
        for _, done in told:
            done(over)

    # ---- the consuming channel

    def _join(self) -> None:
        connection = self._host.connection()
        if connection is None:
            self._host.loop.call_later(PAUSE, lambda: self._act(self.state.lost()))
            return
        connection.open_channel(self._opened, self._closed)

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        if self.state.phase is Phase.DELETING:
            self._delete()
            return
        channel.basic_consume(self.place.queue, self._arrived, exclusive=True, callback=self._joined)
        channel.add_on_cancel_callback(lambda _: self._cancelled(channel))

    def _cancelled(self, channel: Channel) -> None:
        """The queue is deleted: by us, or by somebody else."""
        if self.state.phase is not Phase.DELETING and channel.is_open:
            channel.close()

    def _joined(self, _: Any) -> None:
        self._act(self.state.joined())
        self._listen(self._arrivals)

    def _listen(self, arrivals: int) -> None:
        channel = self._channel

        def check() -> None:
            if channel is not self._channel or self.state.phase is not Phase.COLLECTING:
                return
            if arrivals == self._arrivals:
                self._act(self.state.quiet(last=self._quiet >= _QUIET_MAX))
            else:
                self._listen(self._arrivals)

        self._host.loop.call_later(self._quiet, check)

    def _arrived(self, channel: Channel, method: Method, properties: PropertiesLike, body: bytes) -> None:
        if channel is self._channel:
            self._arrivals += 1
            message = self._host.messages.read(self.place.queue, properties, body)
            self._act(self.state.arrived(method.delivery_tag, message))

    def _release(self) -> None:
        self._quiet = min(2 * self._quiet, _QUIET_MAX)
        channel = self._channel
        if channel is not None and channel.is_open:
            for tag in self.state.duplicates:
                channel.basic_ack(tag)
            channel.close()  # the answer comes when everything else is in the queue again

    def _delete(self) -> None:
        channel = self._channel
        if channel is None:
            self._join()  # opens one
        elif channel.is_open:
            channel.queue_delete(self.place.queue, callback=self._deleted)

    def _deleted(self, _: Any) -> None:
        channel = self._channel
        self._act(self.state.deleted())
        if channel is not None and channel.is_open:
            channel.close()

    def _closed(self, code: int, text: str) -> None:
        self._channel = None
        state = self.state
        if state.phase is Phase.RELEASING:
            self._act(state.released())
        elif state.phase is Phase.JOINING and code == ACCESS_REFUSED:
            self._act(state.refused())
        else:
            if code and not is_gone(code, text) and not state.over:
                logger.warning("Chord queue %s: channel closed by the broker: %s %s", self.place.queue, code, text)
            self._act(state.lost())
