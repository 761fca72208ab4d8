"""Confirmed publishing without blocking: a window of in-flight messages on a connection that is kept up.

Owns the fate of every message it was given: each is told exactly once whether the broker has stored and routed it.

    publish() -> backlog -> [window] -> channel -> ack | return+ack | nack | lost
                    ^                                                      |
                    +------------ again, in order, before all others ------+

Parts: :mod:`amqtask.broker.link` keeps the connection, :mod:`amqtask.broker.session` one channel on it,
:mod:`amqtask.broker.batch` what waits, :mod:`amqtask.broker.patience` when it has waited too long.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from amqtask import clock
from amqtask.broker import faults
from amqtask.broker.batch import Batch, Pending
from amqtask.broker.content import FRAME_MAX, seal
from amqtask.broker.declare import DECLARE_TIMEOUT, DeclareQueue
from amqtask.broker.link import Link
from amqtask.broker.patience import Patience
from amqtask.broker.reconnect import CALLER_WAIT
from amqtask.broker.session import Session
from amqtask.errors import AccessRefused, BrokerError, DevBrokerGone, Unroutable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.batch import BatchDone
    from amqtask.broker.declare import DeclareDone
    from amqtask.broker.interface import Connection, ConnectionOptions, Layout, PublishDone
    from amqtask.broker.loop import SelectLoop
    from amqtask.broker.pika_driver import PikaConnection
    from amqtask.broker.reconnect import FailoverStrategy
    from amqtask.broker.url import BrokerURL
    from amqtask.topology.declarations import Version
    from amqtask.wire.message import Outgoing

WINDOW = 500
"""Most messages in flight: enough to hide the round trip, few enough to publish again."""

_REOPEN_DELAY = 0.5
"""Seconds before a channel is opened again after the broker closed one that had nothing in flight."""


class Rider(Protocol):
    """Something else that lives on a publisher's connection."""

    @property
    def waiting(self) -> bool:
        """Is the connection to be made again when it is lost, although nothing is to be published?"""

    def connected(self, connection: Connection, then: Callable[[], None]) -> None:
        """A new connection; nothing is published on it until ``then`` is called."""

    def disconnected(self, error: BrokerError, *, final: bool) -> None:
        """It is gone, or was not made; with ``final`` no other follows soon."""

    def stopped(self) -> None:
        """The publisher is stopping."""


class Publisher:
    """Publishes with confirms and mandatory routing, always. Not thread-safe: call it on the loop's thread only.

    A lost connection is made again, and what was not confirmed is published again in the same order until each
    message's own deadline; a message may then exist twice, under one id. A message the broker closes the channel for
    fails alone, the others are published again on a new channel.

    Args:
        loop: where it lives.
        urls: brokers, for failover.
        options: of the connection; ``max_message_size`` and ``blocked_timeout`` count here.
        strategy: order of failover.
        lazy: connect only when there is something to send, and do not reconnect while there is nothing.
    """

    def __init__(
        self,
        loop: SelectLoop,
        urls: Sequence[BrokerURL],
        options: ConnectionOptions,
        *,
        strategy: FailoverStrategy = "round-robin",
        lazy: bool = False,
    ) -> None:
        self.loop = loop
        self._options = options
        self._lazy = lazy
        self._link = Link(
            loop,
            urls,
            options,
            on_up=self._up,
            on_down=self._down,
            on_blocked=self._blocked,
            strategy=strategy,
            **({"longest_wait": CALLER_WAIT} if lazy else {}),
        )
        self._backlog: deque[Pending] = deque()
        self._batches: deque[Batch] = deque()
        self._session: Session | None = None
        self._frame_max = FRAME_MAX
        self._suspects = 0  # while there are any, messages go one at a time, to find the one the broker refuses
        self._pump_timer: object = None
        self._patience = Patience(loop, options.blocked_timeout, self._expire)
        self._declares = DeclareQueue(loop)
        self._version: Version | None = None
        self._error: BrokerError | None = None  # of the last failed attempt or loss, while there is no connection
        self._on_stopped: Callable[[], None] | None = None
        self.rider: Rider | None = None

    # -- the public side ------------------------------------------------------------------------------------------

    @property
    def version(self) -> Version | None:
        """The broker's version as of the last connection, or None before the first."""
        return self._version

    @property
    def connected(self) -> bool:
        """Is there an open connection?"""
        return self._link.connection is not None

    @property
    def opened(self) -> int:
        """Connections that were made so far."""
        return self._link.opened

    @property
    def blocked(self) -> bool:
        """Does the broker block publishers just now?"""
        return self._patience.blocked_for is not None

    @property
    def pending(self) -> int:
        """Messages whose fate is open."""
        in_flight = len(self._session.ledger) if self._session is not None else 0
        return len(self._backlog) + in_flight + sum(batch.left for batch in self._batches)

    def start(self) -> None:
        """Begin to connect; harmless when started.

        Raises:
            ConfigError: TLS files that can't be used.
        """
        self._link.start()

    def ride(self, rider: Rider) -> None:
        """Share the connection with something else, once: it prepares each new one before anything is published."""
        self.rider = rider
        if self._link.connection is not None:
            rider.connected(self._link.connection, lambda: None)

    def publish(self, message: Outgoing, timeout: float, done: PublishDone) -> None:
        """Publish one message.

        Args:
            message: what and where to.
            timeout: seconds until it has failed.
            done: told None or the error, once; never from within this call.

        Raises:
            MessageTooLarge, EncodeError: at once; ``done`` is not called then.
        """
        self.publish_sealed(message, seal(message, self._options, self._frame_max), timeout, done)

    def publish_sealed(self, message: Outgoing, header: bytes, timeout: float, done: PublishDone) -> None:
        """Like :meth:`publish`, with properties that :func:`amqtask.broker.content.seal` has encoded already."""
        now = clock.monotonic()
        item = Pending(message, header, now, now + timeout, done)
        self._backlog.append(item)
        self._patience.watch(item)
        self._begin()

    def publish_many(self, messages: Sequence[Outgoing], timeout: float, done: BatchDone) -> None:
        """Publish many messages through the window, interleaved with everybody else's.

        Args:
            messages: read one by one as the window moves on; must not change meanwhile.
            timeout: seconds without any progress after which what is left has failed.
            done: told index -> error of those that failed, once; never from within this call.
        """
        batch = Batch(messages, timeout, done)
        if not messages:
            self.loop.call_later(0, lambda: done({}))
            return
        self._batches.append(batch)
        self._patience.watch_batch(batch)
        self._begin()

    def declare(self, layout: Layout, done: DeclareDone, timeout: float = DECLARE_TIMEOUT) -> None:
        """Make the broker have what ``layout(version)`` lists, once connected.

        Args:
            layout: steps for the broker's version.
            done: told None or the error (BrokerError, TopologyError), once; never from within this call.
            timeout: seconds, waiting for a connection included.
        """
        self._declares.add(layout, done, timeout, self._link.connection)
        self._link.start()

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Wait for what is pending (each has its deadline), close the connection, then call back."""
        self._on_stopped = on_stopped
        if self.rider is not None:
            self.rider.stopped()
        self._stop_if_idle()

    def abort(self, error: BrokerError) -> None:
        """Fail everything that is pending, now. The connection is not touched."""
        self._declares.fail(error)
        batches, self._batches = list(self._batches), deque()
        waiting = [*self._leftover(), *self._backlog]
        self._backlog.clear()
        for item in waiting:
            self.message_settled(item, error)
        for batch in batches:
            batch.fail(lambda: error)

    def release(self) -> None:
        """Close the socket at once and tell nobody; for a loop that does not run any more."""
        self._link.release()

    # -- connection -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._session is not None and self._session.ready:
            self._pump()
        else:
            self._link.start()

    def _up(self, connection: PikaConnection) -> None:
        self._error = None
        self._version = connection.version
        self._frame_max = connection.frame_max
        self._declares.run(connection)
        if self.rider is None:
            self._open_session()
        else:
            self.rider.connected(connection, self._open_session)

    def _open_session(self) -> None:
        connection = self._link.connection
        if connection is not None and self._session is None:
            self._session = Session(self)
            connection.open_confirm_channel(self._session)

    def _down(self, error: BrokerError) -> None:
        self._error = error
        self._patience.unblocked()
        self._declares.interrupted(error)
        final = isinstance(error, AccessRefused | DevBrokerGone) and self._link.round_failed
        if final:
            self.abort(error)
        if self.rider is not None:
            self.rider.disconnected(error, final=final)
        if self._lazy and not self.pending and not self._declares.waiting and not (self.rider and self.rider.waiting):
            self._link.pause()
        self._stop_if_idle()

    def _blocked(self, reason: str | None) -> None:
        if reason is None:
            self._patience.unblocked()
            self._pump()
        else:
            self._patience.blocked(reason, self._all(), self._batches)

    # -- the session's reports (SessionOwner) ---------------------------------------------------------------------

    def session_ready(self, session: Session) -> None:
        """Messages can be written now."""
        if session is self._session:
            self._pump()

    def message_settled(self, item: Pending, error: BrokerError | None) -> None:
        """The fate of one message is known."""
        if item.suspect:
            item.suspect = False
            self._suspects -= 1
        item.settle(error)
        if self._pump_timer is None:
            # once a turn, however many confirms it brings; here also the idle publisher notices that it is to stop
            self._pump_timer = self.loop.call_later(0, self._pump_later)

    def session_closed(self, session: Session, code: int, text: str) -> None:
        """The channel is gone: find the message it was closed for, keep the others."""
        if session is not self._session:
            return
        leftover = self._leftover()
        self._session = None
        failed = self._culprits(leftover, code, text) if code else []
        for item in failed:
            self.message_settled(item, faults.publish_refused(code, text))
        kept = [item for item in leftover if item not in failed] if failed else leftover
        if code and not failed:
            for item in kept:
                self._suspects += not item.suspect
                item.suspect = True
        self._backlog.extendleft(reversed(kept))
        if self._link.connection is not None:
            self.loop.call_later(0 if leftover else _REOPEN_DELAY, self._open_session)

    def _leftover(self) -> list[Pending]:
        """Empty the ledger; returns what can be published again, settles what the broker has returned before."""
        if self._session is None:
            return []
        kept = []
        for item, returned in self._session.ledger.drain():
            if returned is None:
                kept.append(item)
            else:
                self.message_settled(item, Unroutable(returned))
        return kept

    @staticmethod
    def _culprits(leftover: list[Pending], code: int, text: str) -> list[Pending]:
        """The messages the broker closed the channel for, as far as that can be told."""
        if len(leftover) == 1:
            return leftover
        exchange = faults.culprit_exchange(code, text)
        if exchange is not None:
            return [item for item in leftover if item.message.exchange == exchange]
        size = faults.culprit_size(text)
        if size is not None:
            return [item for item in leftover if len(item.message.body) > size]
        return []

    # -- moving messages ------------------------------------------------------------------------------------------

    def _pump_later(self) -> None:
        self._pump_timer = None
        self._pump()
        self._stop_if_idle()

    def _pump(self) -> None:
        session = self._session
        if session is None or not session.ready or self.blocked:
            return
        while session.room(1 if self._suspects else WINDOW):
            item = self._take()
            if item is None:
                break
            session.write(item)
        session.flush()

    def _take(self) -> Pending | None:
        if self._backlog:
            return self._backlog.popleft()
        while self._batches:
            item = self._batches[0].take(self._options, self._frame_max)
            if item is not None:
                self._patience.watch(item)
                self._batches.rotate(-1)  # so that a huge batch does not starve a small one
                return item
            self._batches.popleft()
        return None

    def _all(self) -> list[Pending]:
        return [*self._backlog, *(self._session.ledger.items() if self._session is not None else ())]

    def _expire(self, now: float) -> float | None:
        """Fail what has waited too long; returns when to look again."""
        patience = self._patience
        late: list[Pending] = []
        if self._session is not None:
            late += self._session.forget(lambda item: patience.limit(item) <= now)
        late += [item for item in self._backlog if patience.limit(item) <= now]
        self._backlog = deque(item for item in self._backlog if patience.limit(item) > now)
        batches = [batch for batch in self._batches if patience.batch_limit(batch) <= now]
        for batch in batches:
            self._batches.remove(batch)
        for item in late:
            self.message_settled(item, patience.error(item, self._error, connected=self.connected))
        for batch in batches:
            batch.fail(lambda: patience.batch_error(self._error, connected=self.connected))
        self._check_life([item.since for item in late if item.written])
        limits = [patience.limit(item) for item in self._all()]
        limits += [patience.batch_limit(batch) for batch in self._batches]
        return min(limits, default=None)

    def _check_life(self, overdue: list[float]) -> None:
        """Confirms are overdue for messages given since then: with no other sign of life, connect anew."""
        connection, session = self._link.connection, self._session
        if not overdue or connection is None or session is None or self.blocked:
            return
        if session.last_confirm < min(overdue):
            connection.drop()

    def _stop_if_idle(self) -> None:
        if self._on_stopped is not None and not self.pending and not self._declares.waiting:
            callback, self._on_stopped = self._on_stopped, None
            self._patience.close()
            self._link.stop(callback)
