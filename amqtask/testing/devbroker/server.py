"""The broker's server: listens, makes connections, and keeps the broker's timers on the loop.

Owns every socket, so that all of them can be closed, and can be given up by a forked child. Lives on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING

from amqtask.testing.devbroker.protocol.connection import Connection
from amqtask.testing.devbroker.protocol.trace import Tracer
from amqtask.testing.devbroker.state import MEMORY_LIMIT, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LOG = logging.getLogger(__name__)

BACKLOG = 512
_ACCEPTED_AT_ONCE = 64
_PAUSE = 0.5
"""Seconds without accepting when the process has no file descriptors left."""


class Server:
    """An AMQP broker in memory.

    Args:
        host: address to listen on; anything but a loopback address lets strangers in.
        port: 0 for a free one.
        memory_limit: bytes of stored messages from which on publishers are blocked; None: no limit.
        vhosts: names of the vhosts to begin with.
        users: names and passwords.
        trace: called with a line of text for every method.

    Attributes:
        state: users, vhosts, memory and faults.
        sockets: every socket that is open, for a forked child to give up.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        memory_limit: int | None = MEMORY_LIMIT,
        vhosts: Iterable[str] = ("/",),
        users: Mapping[str, str] | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.state = State(memory_limit, vhosts, users or {"guest": "guest"})
        self._connections: dict[Connection, None] = {}
        self.sockets: set[socket.socket] = set()
        self._trace = trace
        self._numbers = 0
        self._listener: socket.socket | None = None
        self._greetings: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def connections(self) -> list[Connection]:
        """The clients that are connected."""
        return [made for made in self._connections if not made.gone]

    def listen(self) -> None:
        """Open the port, so that :attr:`port` is known; clients wait until :meth:`start`.

        Raises:
            OSError: the port is taken or the address is not this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self.sockets.add(listener)
        self.port = listener.getsockname()[1]

    def start(self) -> None:
        """Accept clients; to be called on the running loop, after :meth:`listen`."""
        assert self._listener is not None
        self._loop = asyncio.get_running_loop()
        self._accept_again()
        self.state.scheduler.changed = self._set_timer
        self.state.memory.on_change = self._memory_changed

    async def stop(self) -> None:
        """End all connections and close the port."""
        if self._loop is not None and self._listener is not None:
            self._loop.remove_reader(self._listener)
        if self._listener is not None:
            self._close(self._listener)
            self._listener = None
        if self._timer is not None:
            self._timer.cancel()
        self.state.scheduler.changed = lambda: None
        await asyncio.gather(*self._greetings, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # transports close their sockets in the next turn
        for name in list(self.state.vhosts):
            self.state.delete_vhost(name)
        for left in list(self.sockets):
            self._close(left)

    # --- asked by commands ---

    def of_vhost(self, vhost: str | None) -> list[Connection]:
        """The connections to one vhost, or all."""
        return [made for made in self.connections if vhost is None or made.session.vhost_name == vhost]

    def review_blocking(self) -> None:
        """Let publishers go on if nothing blocks them any more."""
        if self.state.blocked is None:
            for connection in self.connections:
                connection.unblock()

    def review_freezing(self) -> None:
        """Freeze and thaw connections as the faults say."""
        for connection in self.connections:
            connection.freeze(self.state.faults.frozen(connection.session.vhost_name))

    def delete_vhost(self, name: str) -> None:
        """Close a vhost's connections and drop it with everything in it.

        Raises:
            KeyError: there is none.
        """
        for connection in self.of_vhost(name):
            connection.force_close(f"vhost '{name}' is deleted")
        self.state.delete_vhost(name)

    def run_due(self) -> None:
        """Run the broker's timers that are due."""
        self.state.scheduler.run_due()
        self._set_timer()

    # --- sockets and timers ---

    def _accept(self) -> None:
        assert self._listener is not None
        assert self._loop is not None
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                LOG.exception("no connection can be accepted now")
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE, self._accept_again)
                return
            if self.state.faults.refusing:
                client.close()
                continue
            client.setblocking(False)
            # asyncio does so only for sockets that know their protocol; without, an answer may wait for 40 ms
            with contextlib.suppress(OSError):  # gone already, as reading will tell
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.add(client)
            task = self._loop.create_task(self._greet(client))
            self._greetings.add(task)
            task.add_done_callback(self._greetings.discard)

    def _accept_again(self) -> None:
        if self._listener is not None and self._loop is not None:
            self._loop.add_reader(self._listener, self._accept)

    async def _greet(self, client: socket.socket) -> None:
        assert self._loop is not None
        self._numbers += 1
        tracer = None if self._trace is None else Tracer(self._numbers, self._trace)
        made = Connection(self._numbers, self.state, lambda connection: self._forget(connection, client), tracer)
        self._connections[made] = None
        await self._loop.connect_accepted_socket(lambda: made, client)

    def _forget(self, connection: Connection, client: socket.socket) -> None:
        self._connections.pop(connection, None)
        self.sockets.discard(client)

    def _close(self, open_socket: socket.socket) -> None:
        self.sockets.discard(open_socket)
        open_socket.close()

    def _set_timer(self) -> None:
        assert self._loop is not None
        if self._timer is not None:
            self._timer.cancel()
        pause = self.state.scheduler.pause()
        self._timer = None if pause is None else self._loop.call_later(pause, self.run_due)

    def _memory_changed(self, over: bool) -> None:
        if not over:
            self.review_blocking()
