"""A TCP proxy that misbehaves on request: cuts, freezes, delays and refuses connections.

    with Proxy("127.0.0.1", 5672) as proxy:
        connect_to(proxy.url(broker_url))
        proxy.cut()

One thread, one selector; every method may be called from any thread.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 65536


class _Pipe:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.waiting: deque[tuple[float, bytes]] = deque()  # (when to send on, data)


class Proxy:
    """Forwards connections to ``host:port``; listens on a free loopback port until closed.

    Attributes:
        connections: how many were accepted so far.
        forwarded: bytes passed on from clients to the target.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._lock = threading.RLock()
        self._pairs: dict[socket.socket, _Pipe] = {}
        self._frozen = False
        self._refusing = False
        self._delay = 0.0
        self._cut_after: int | None = None
        self._closed = False
        self.connections = 0
        self.forwarded = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def url(self, url: str) -> str:
        """The same URL, led through this proxy."""
        parts = urlsplit(url)
        login, _, _ = parts.netloc.rpartition("@")
        netloc = f"{login}@127.0.0.1:{self.port}" if login else f"127.0.0.1:{self.port}"
        return parts._replace(netloc=netloc).geturl()

    def cut(self) -> None:
        """Reset every open connection, as a crashed router would."""
        with self._lock:
            for sock in list(self._pairs):
                self._drop(sock, reset=True)

    def cut_after(self, size: int) -> None:
        """Reset the connections once, when ``size`` more bytes have come from clients."""
        with self._lock:
            self._cut_after = self.forwarded + size

    def freeze(self) -> None:
        """Pass nothing on any more, and close nothing: the half-open connection of a lost route."""
        self._frozen = True

    def thaw(self) -> None:
        """Pass on again, what was held back included."""
        self._frozen = False

    def delay(self, seconds: float) -> None:
        """Hold every piece of data back for so long, in each direction."""
        self._delay = seconds

    def refuse(self, refusing: bool = True) -> None:
        """Accept no more connections (they are reset at once); open ones stay."""
        self._refusing = refusing

    @property
    def open(self) -> int:
        """Connections that are open now."""
        with self._lock:
            return len(self._pairs) // 2

    def close(self) -> None:
        self._closed = True
        self._thread.join(60)
        self.cut()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                pairs = {} if self._frozen else dict(self._pairs)
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                for sock in pairs:
                    with contextlib.suppress(ValueError, OSError):  # dropped meanwhile
                        selector.register(sock, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select(0.01)]
            with self._lock:
                for sock in ready:
                    if sock is self._listener:
                        self._accept()
                    elif isinstance(sock, socket.socket) and not self._frozen:
                        self._read(sock)
                self._forward()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._refusing:
            _reset(client)
            return
        try:
            server = socket.create_connection(self._target, 60)
        except OSError:
            _reset(client)
            return
        self.connections += 1
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = _Pipe(one, other)

    def _read(self, sock: socket.socket) -> None:
        pipe = self._pairs.get(sock)
        if pipe is None:
            return
        try:
            data = sock.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._drop(sock, reset=False)
            return
        if sock.getsockname()[1] == self.port:  # from a client
            self.forwarded += len(data)
            if self._cut_after is not None and self.forwarded >= self._cut_after:
                self._cut_after = None
                self.cut()
                return
        pipe.waiting.append((time.monotonic() + self._delay, data))

    def _forward(self) -> None:
        now = time.monotonic()
        for sock, pipe in list(self._pairs.items()):
            while pipe.waiting and pipe.waiting[0][0] <= now and not self._frozen:
                _, data = pipe.waiting.popleft()
                try:
                    pipe.target.settimeout(60)
                    pipe.target.sendall(data)
                except OSError:
                    self._drop(sock, reset=False)
                    break

    def _drop(self, sock: socket.socket, *, reset: bool) -> None:
        pipe = self._pairs.pop(sock, None)
        if pipe is None:
            return
        self._pairs.pop(pipe.target, None)
        for end in (pipe.source, pipe.target):
            if reset:
                _reset(end)
            else:
                end.close()


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
