"""A connection that is kept up: connects, reports, and connects again by the reconnect policy until stopped.

Owns the life of one connection at a time. What belongs on it (channels, consumers, topology) is rebuilt by the owner
on every :attr:`Link.on_up`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.broker.pika_driver import open_connection
from amqtask.broker.reconnect import ReconnectPolicy
from amqtask.broker.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import ConnectionOptions
    from amqtask.broker.loop import SelectLoop
    from amqtask.broker.pika_driver import PikaConnection
    from amqtask.broker.reconnect import FailoverStrategy
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import BrokerError

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 3.0
"""Seconds that closing waits for the broker's answer: one that blocks publishers, or is frozen, never gives it."""


class Link:
    """Keeps one connection to one of several brokers. Not thread-safe: everything happens on the loop's thread.

    Args:
        loop: where it lives.
        urls: brokers, for failover.
        options: of the connections.
        on_up: told of each new connection.
        on_down: told of each failed attempt and each loss while not stopped, with the cause. After ``AccessRefused``
            the attempts go on too; whoever wants otherwise stops the link.
        on_blocked: told the broker's reason when it blocks publishers, and None when it no longer does.
        strategy: order of failover, see :class:`amqtask.broker.reconnect.ReconnectPolicy`.
        longest_wait: between two attempts, in seconds.
    """

    def __init__(
        self,
        loop: SelectLoop,
        urls: Sequence[BrokerURL],
        options: ConnectionOptions,
        *,
        on_up: Callable[[PikaConnection], None],
        on_down: Callable[[BrokerError], None],
        on_blocked: Callable[[str | None], None] | None = None,
        strategy: FailoverStrategy = "round-robin",
        longest_wait: float = 10.0,
    ) -> None:
        self._loop = loop
        self._options = options
        self.on_up, self.on_down = on_up, on_down
        self._on_blocked = on_blocked
        self._policy = ReconnectPolicy(urls, strategy, maximum=longest_wait)
        self._running = False
        self._timer: object = None
        self._stop_timer: object = None
        self._attempt: PikaConnection | None = None  # opening, open or closing
        self._open = False
        self._failures = 0
        self.opened = 0
        """Connections that were made so far."""
        self._on_stopped: Callable[[], None] | None = None

    @property
    def connection(self) -> PikaConnection | None:
        """The open connection, or None."""
        return self._attempt if self._open else None

    @property
    def running(self) -> bool:
        """Is it started and not stopped?"""
        return self._running

    @property
    def round_failed(self) -> bool:
        """Has every broker failed at least once since the last connection?"""
        return self._failures >= len(self._policy.urls)

    def start(self) -> None:
        """Begin to connect; harmless when started.

        Raises:
            ConfigError: TLS files that can't be used.
        """
        if self._running:
            return
        for url in self._policy.urls:
            tls_context(url, self._options)
        self._running = True
        if self._attempt is None:
            self._schedule()

    def pause(self) -> None:
        """Within ``on_down``: do not try again until the next :meth:`start`."""
        self._running = False
        self._loop.cancel(self._timer)
        self._timer = None

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Close the connection in an orderly way, or end the attempts; then call back, within seconds."""
        self._running = False
        self._on_stopped = on_stopped
        self._loop.cancel(self._timer)
        self._timer = None
        if self._attempt is None:
            self._stop_timer = self._loop.call_later(0, self._stopped)
        else:
            self._stop_timer = self._loop.call_later(_CLOSE_TIMEOUT, self._cut)
            self._attempt.close()

    def release(self) -> None:
        """Close the socket at once and tell nobody; for a loop that does not run any more."""
        if self._attempt is not None:
            self._attempt.release()

    # -- the cycle ------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        url, delay = self._policy.next(clock.monotonic())
        self._timer = self._loop.call_later(delay, lambda: self._connect(url))

    def _connect(self, url: BrokerURL) -> None:
        self._timer = None
        self._attempt = open_connection(
            self._loop,
            url,
            self._options,
            on_open=self._opened,
            on_error=self._ended,
            on_closed=self._ended,
            on_blocked=self._blocked,
        )

    def _opened(self, connection: PikaConnection) -> None:
        if not self._running:
            connection.close()  # stopped while it was opening
            return
        self._policy.succeeded(clock.monotonic())
        self._failures = 0
        self._open = True
        self.opened += 1
        log.info("connected to %s at %s", connection.version, connection.url.where)
        self.on_up(connection)

    def _ended(self, error: BrokerError) -> None:
        was_open, self._open, self._attempt = self._open, False, None
        self._failures += 1
        if self._on_stopped is not None:
            self._stopped()
        if not self._running:
            return
        log.log(logging.WARNING if was_open else logging.INFO, "%s", error)
        # scheduled first: on_down may stop the link, and finds everything in place then
        self._schedule()
        self.on_down(error)

    def _blocked(self, reason: str | None) -> None:
        if reason is None:
            log.info("the broker accepts messages again")
        else:
            log.warning("the broker blocks publishers: %s", reason)
        if self._on_blocked is not None:
            self._on_blocked(reason)

    def _cut(self) -> None:
        """The broker did not answer the close."""
        self._stop_timer = self._loop.call_later(_CLOSE_TIMEOUT, self._stopped)
        if self._attempt is not None:
            self._attempt.drop()

    def _stopped(self) -> None:
        self._loop.cancel(self._stop_timer)
        self._stop_timer = None
        callback, self._on_stopped = self._on_stopped, None
        if callback is not None:
            callback()
