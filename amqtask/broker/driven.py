"""A connection that whoever waits on it drives: for receivers and other programs that do nothing but consume.

Owns the loop and the link. There is no thread: heartbeats are answered, lost connections made again and messages taken
in only while :meth:`DrivenConnection.drive` runs, so it has to be called again within a heartbeat or two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from amqtask import clock
from amqtask.broker.link import Link
from amqtask.broker.loop import SelectLoop
from amqtask.errors import AccessRefused, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from amqtask.broker.interface import Connection, ConnectionOptions
    from amqtask.broker.reconnect import FailoverStrategy
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import BrokerError

_TURN = 1.0
_CLOSE_TIMEOUT = 4.0


class DrivenConnection:
    """A context manager; connects when it is driven for the first time. For one thread.

    Args:
        urls: brokers, for failover.
        options: of the connection.
        strategy: order of failover.
    """

    def __init__(self, urls: Sequence[BrokerURL], options: ConnectionOptions, strategy: FailoverStrategy) -> None:
        self.urls, self._options, self._strategy = tuple(urls), options, strategy
        self._loop: SelectLoop | None = None
        self._link: Link | None = None
        self._error: BrokerError | None = None
        self._users: list[Callable[[Connection], None]] = []

    @property
    def connected(self) -> bool:
        """Is there a connection just now?"""
        return self._link is not None and self._link.connection is not None

    @property
    def connection(self) -> Connection | None:
        """The one there is just now."""
        return None if self._link is None else self._link.connection

    @property
    def error(self) -> BrokerError | None:
        """Why there is none, while there is none and one was tried."""
        return self._error

    def use(self, on_up: Callable[[Connection], None]) -> None:
        """Have ``on_up`` called with this connection, if there is one, and with each that takes its place."""
        self._users.append(on_up)
        if (there := self.connection) is not None:
            on_up(there)

    def leave(self, on_up: Callable[[Connection], None]) -> None:
        """The end of :meth:`use`."""
        if on_up in self._users:
            self._users.remove(on_up)

    def connect(self, timeout: float = 30.0) -> None:
        """Return once there is a connection.

        Args:
            timeout: seconds.

        Raises:
            BrokerUnavailable: there is none in that time.
            AccessRefused: the broker does not let us in.
        """
        deadline = clock.monotonic() + timeout
        while not self.connected:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise self._error or BrokerUnavailable(f"no broker answers within {timeout:g} s")
            self.drive(left)

    ensure_connection = connect

    def drive(self, timeout: float) -> None:
        """Let happen what is due: at most ``timeout`` seconds until something does.

        Raises:
            AccessRefused: the broker does not let us in.
        """
        loop, link = self._opened()
        loop.turn(min(timeout, _TURN))
        if isinstance(self._error, AccessRefused) and link.round_failed:
            raise self._error

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call back after ``delay`` seconds, while it is driven."""
        self._opened()[0].call_later(delay, callback)

    def close(self) -> None:
        """Close the connection; idempotent. It connects again when it is driven again."""
        loop, link = self._loop, self._link
        self._loop = self._link = None
        if loop is None or link is None:
            return
        stopped: list[bool] = []
        link.stop(lambda: stopped.append(True))
        deadline = clock.monotonic() + _CLOSE_TIMEOUT
        while not stopped and (left := deadline - clock.monotonic()) > 0:
            loop.turn(left)
        link.release()
        loop.close()

    release = close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> tuple[SelectLoop, Link]:
        if self._loop is None or self._link is None:
            self._loop = SelectLoop()
            self._link = Link(
                self._loop, self.urls, self._options, on_up=self._up, on_down=self._down, strategy=self._strategy
            )
            self._link.start()
        return self._loop, self._link

    def _up(self, connection: Connection) -> None:
        self._error = None
        for on_up in list(self._users):
            on_up(connection)

    def _down(self, error: BrokerError) -> None:
        self._error = error
