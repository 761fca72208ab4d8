"""News from Redis: one connection and one thread per process, whatever number of watches there is.

The thread alone touches the connection. Others put what they want into a queue and wake it. A watch is told three
things: all its channels are subscribed (now fetch what is stored), a document came, or the connection was lost. After
a loss the thread connects again, first after 50 ms, at last once a second, and tells every watch of each attempt that
failed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.results.backends._redis_client import ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.errors import BackendError
    from amqtask.results.backends._redis_client import Link

FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
QUIET_SECONDS = 30.0
"""After so long a silence Redis is asked whether it is there; after as long again the connection is lost."""
_BATCH = 500


class Listener(Protocol):
    """Who wants news; called in the hub's thread, and must not block it."""

    channels: frozenset[bytes]

    def subscribed(self) -> None:
        """From now on nothing is missed."""

    def message(self, channel: bytes, document: bytes) -> None:
        """A document was stored."""

    def lost(self, error: BackendError) -> None:
        """The connection is gone, or could not be made; ``subscribed`` follows when it is back."""


class Hub:
    """Spreads news. Thread-safe; belongs to the process that made it.

    Args:
        link: to the server.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._todo: deque[Callable[[], None]] = deque()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._connection: Any = None
        self._listeners: dict[bytes, dict[Listener, None]] = {}
        self._unconfirmed: Counter[bytes] = Counter()
        self._waiting: dict[Listener, set[bytes]] = {}
        self._pause, self._retry_at = FIRST_PAUSE, 0.0
        self._heard = 0.0
        self._asked = self._over = False
        self._thread = threading.Thread(target=self._run, name="amqtask-redis-news", daemon=True)
        self._thread.start()

    def add(self, listener: Listener) -> None:
        """Tell this one news of its channels."""
        self._do(lambda: self._add(listener))

    def remove(self, listener: Listener) -> None:
        """Tell it nothing more."""
        self._do(lambda: self._remove(listener))

    def close(self) -> None:
        """End the thread and the connection."""
        self._do(self._end)
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _do(self, action: Callable[[], None]) -> None:
        self._todo.append(action)
        with contextlib.suppress(OSError):  # a full pipe wakes as well; a closed one needs no waking
            self._bell.send(b"!")

    # From here on: in the thread.

    def _run(self) -> None:
        while not self._over:
            try:
                self._turn()
            except Exception as error:  # whatever it is, watches must hear of it rather than wait for ever
                self._lose(error)
        while self._todo:
            self._todo.popleft()()
        self._lose(ConnectionError("closed"))  # who waits still begins anew, with the next hub
        self._ear.close()
        self._bell.close()

    def _turn(self) -> None:
        while self._todo:
            self._todo.popleft()()
        if self._over:
            return
        if self._connection is None and self._listeners and clock.monotonic() >= self._retry_at:
            self._connect()
        if self._connection is not None:
            while self._connection.can_read(timeout=0):
                self._read(self._connection.read_response())
        self._sleep()

    def _sleep(self) -> None:
        sources: list[Any] = [self._ear]
        seconds: float | None = None
        if self._connection is not None:
            sources.append(self._connection._sock)  # noqa: SLF001 -- redis-py can only wait for one connection
            seconds = max(self._heard + QUIET_SECONDS - clock.monotonic(), 0)
        elif self._listeners:
            seconds = max(self._retry_at - clock.monotonic(), 0)
        if self._todo:
            return
        poll = select.poll()  # select() can't take numbers from 1024 on
        for source in sources:
            poll.register(source, select.POLLIN)
        readable = {number for number, _ in poll.poll(None if seconds is None else seconds * 1000)}
        if self._ear.fileno() in readable:
            with contextlib.suppress(BlockingIOError):
                while self._ear.recv(4096):
                    pass
        if self._connection is not None and not readable:
            self._silence()

    def _silence(self) -> None:
        if self._asked:
            raise TimeoutError("Redis does not answer")
        self._connection.send_command("PING", check_health=False)
        self._asked, self._heard = True, clock.monotonic()

    def _read(self, answer: Any) -> None:
        self._heard, self._asked = clock.monotonic(), False
        kind, channel, content = answer[0], answer[1], answer[-1]
        if kind == b"message":
            for listener in tuple(self._listeners.get(channel, ())):
                listener.message(channel, content)
        elif kind == b"subscribe":
            self._unconfirmed[channel] -= 1
            if self._unconfirmed[channel] <= 0:
                del self._unconfirmed[channel]
                for listener in tuple(self._listeners.get(channel, ())):
                    self._confirmed(listener, channel)

    def _confirmed(self, listener: Listener, channel: bytes) -> None:
        missing = self._waiting.get(listener)
        if missing is not None:
            missing.discard(channel)
            if not missing:
                del self._waiting[listener]
                listener.subscribed()

    def _add(self, listener: Listener) -> None:
        for channel in listener.channels:
            self._listeners.setdefault(channel, {})
        fresh = [channel for channel in listener.channels if not self._listeners[channel]]
        for channel in listener.channels:
            self._listeners[channel][listener] = None
        if self._connection is None:
            self._waiting[listener] = set(listener.channels)
            return
        missing = {*fresh, *(channel for channel in listener.channels if self._unconfirmed[channel] > 0)}
        if missing:
            self._waiting[listener] = missing
            self._subscribe(fresh)
        else:
            listener.subscribed()

    def _remove(self, listener: Listener) -> None:
        self._waiting.pop(listener, None)
        gone = []
        for channel in listener.channels:
            listeners = self._listeners.get(channel, {})
            listeners.pop(listener, None)
            if not listeners and self._listeners.pop(channel, None) is not None:
                gone.append(channel)
        if self._connection is not None:
            for some in _pieces(gone):
                self._connection.send_command("UNSUBSCRIBE", *some, check_health=False)

    def _subscribe(self, channels: Iterable[bytes]) -> None:
        self._unconfirmed.update(channels)
        for some in _pieces(list(channels)):
            self._connection.send_command("SUBSCRIBE", *some, check_health=False)

    def _connect(self) -> None:
        connection = self._link.listening_connection()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
        self._heard, self._asked = clock.monotonic(), False
        self._pause = FIRST_PAUSE
        for listener in {listener for some in self._listeners.values() for listener in some}:
            self._waiting[listener] = set(listener.channels)
        self._subscribe(list(self._listeners))

    def _lose(self, error: BaseException) -> None:
        self._disconnect()
        self._retry_at = clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, LAST_PAUSE)
        failure = self._link.failed("wait for results", error)
        for listener in {listener for some in self._listeners.values() for listener in some}:
            listener.lost(failure)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._unconfirmed.clear()
        if connection is not None:
            with contextlib.suppress(*ERRORS):
                connection.disconnect()

    def _end(self) -> None:
        self._over = True


def _pieces(channels: list[bytes]) -> Iterable[list[bytes]]:
    return (channels[at : at + _BATCH] for at in range(0, len(channels), _BATCH))
