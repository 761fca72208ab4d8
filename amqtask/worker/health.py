"""Answers to "is this worker all right?" over HTTP. Owns the questions, the thread that answers, and its sockets.

    /livez      the I/O loop turns and the worker has not found itself broken; a broker that is away is no reason
    /readyz     it consumes all of its queues, and goes on doing so
    /startupz   it has come up: as /livez

The thread asks the I/O loop at each question, so a frozen loop is told as such, and nothing happens in between. The
same is told on a Unix socket beside the pidfile, for ``amqtask check``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.broker.loop import SelectLoop
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds the I/O loop has for an answer; its turns take milliseconds."""

_REQUEST_TIME = 2.0
_REQUEST_MAX = 4096
_CONNECTIONS_MAX = 100
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Health(NamedTuple):
    """What the worker says of itself; empty texts mean all is well.

    Attributes:
        broken: why it should be started again.
        unready: why it does not do its work now.
    """

    broken: str = ""
    unready: str = ""


FROZEN = Health("the I/O loop does not answer", "the I/O loop does not answer")


def address(text: str) -> tuple[str, int]:
    """Host and port of ``[HOST]:PORT``; without a host all addresses of this machine.

    Raises:
        ConfigError: it is none.
    """
    found = re.fullmatch(r"(?:\[([^]]*)\]|([^:]*)):(\d{1,5})", text.strip())
    if found is None or int(found[3]) > 65535:  # noqa: PLR2004 -- the largest port
        raise ConfigError(f"--health (worker_health): {text!r} is no address; write :8080 or 127.0.0.1:8080")
    return found[1] or found[2] or "", int(found[3])


def verdict(question: str, health: Health) -> tuple[int, str]:
    """Status and text that answer a path."""
    if question == "/readyz":
        return (503, health.unready) if health.unready else (200, "ready")
    if question in ("/livez", "/startupz"):
        return (503, health.broken) if health.broken else (200, "live")
    return 404, "there are /livez, /readyz and /startupz"


class HealthServer:
    """Sockets and a thread of their own. :meth:`start` and :meth:`stop` may be called from any thread.

    Args:
        ask: called with what takes the answer, in this thread; hands the question to the I/O loop.
        listen: ``[HOST]:PORT``, or None.
        path: of a Unix socket, or None.
        shared: another process may have the port: the one whose place this one takes.
        new_thread: makes a real thread where gevent has made greenlets of them.

    Raises:
        ConfigError: ``listen`` is no address, or can't be had.
    """

    def __init__(
        self,
        ask: Callable[[Callable[[Health], None]], None],
        listen: str | None,
        path: str | None = None,
        *,
        shared: bool = False,
        new_thread: Callable[..., Any] = threading.Thread,
    ) -> None:
        self._ask = ask
        self._loop = SelectLoop(real=True)
        self._connections: set[_Connection] = set()
        self._sockets = [] if listen is None else [_tcp(address(listen), shared=shared)]
        self._path, self._inode = path, 0
        if path is not None and (beside := _unix(path)) is not None:
            self._sockets.append(beside)
            self._inode = os.stat(path).st_ino  # noqa: PTH116 -- a text
        self._thread = new_thread(target=self._run, name="amqtask-health", daemon=True)

    @property
    def port(self) -> int:
        """Of the TCP socket."""
        return int(self._sockets[0].getsockname()[1])

    def start(self) -> None:
        """Answer from now on."""
        for one in self._sockets:
            self._loop.watch(one.fileno(), lambda one=one: self._accept(one))  # type: ignore[misc]
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            self._loop.run()
        finally:
            for connection in list(self._connections):
                connection.close()
            for one in self._sockets:
                one.close()
            self._remove_path()
            self._loop.close()

    def _remove_path(self) -> None:
        """Unless the process that has taken over listens there."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                if os.stat(self._path).st_ino == self._inode:  # noqa: PTH116
                    os.unlink(self._path)  # noqa: PTH108

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one, _ = listener.accept()
            if len(self._connections) >= _CONNECTIONS_MAX:
                one.close()
            else:
                self._connections.add(_Connection(self._loop, one, self._health, self._connections.discard))

    def _health(self, done: Callable[[Health], None]) -> None:
        """Ask the I/O loop; ``done`` is called once, in this thread."""
        asked = [done]

        def answer(health: Health) -> None:
            if asked:
                self._loop.cancel(timer)
                asked.pop()(health)

        timer = self._loop.call_later(PATIENCE, lambda: answer(FROZEN))
        self._ask(lambda health: self._loop.call_soon_threadsafe(lambda: answer(health)))


class _Connection:
    """One question and its answer."""

    def __init__(
        self,
        loop: SelectLoop,
        peer: socket.socket,
        health: Callable[[Callable[[Health], None]], None],
        closed: Callable[[_Connection], None],
    ) -> None:
        self._loop, self._peer, self._health, self._closed = loop, peer, health, closed
        self._request = b""
        peer.setblocking(False)
        loop.watch(peer.fileno(), self._read)
        self._timer = loop.call_later(_REQUEST_TIME, self.close)

    def _read(self) -> None:
        try:
            found = self._peer.recv(_REQUEST_MAX)
        except OSError:
            found = b""
        self._request += found
        if not found or len(self._request) > _REQUEST_MAX:
            self.close()
        elif b"\r\n\r\n" in self._request or b"\n\n" in self._request:
            self._loop.unwatch(self._peer.fileno())
            words = self._request.split(b"\n", 1)[0].decode("latin-1").split()
            question = words[1].partition("?")[0] if len(words) > 1 else ""
            if words[:1] not in (["GET"], ["HEAD"]):
                self._answer(405, "only GET and HEAD")
            else:
                self._health(lambda health: self._answer(*verdict(question, health)))

    def _answer(self, status: int, text: str) -> None:
        body = json.dumps({"ok": status == 200, "status": text}).encode() + b"\n"  # noqa: PLR2004
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        if self._request.startswith(b"HEAD"):
            body = b""
        with contextlib.suppress(OSError):
            self._peer.send(head.encode() + body)  # fits into the socket's buffer
        self.close()

    def close(self) -> None:
        """End it; harmless when it has ended."""
        if self._peer.fileno() >= 0:
            self._loop.cancel(self._timer)
            self._loop.unwatch(self._peer.fileno())
            self._peer.close()
            self._closed(self)


def _tcp(where: tuple[str, int], *, shared: bool) -> socket.socket:
    host, port = where
    if not shared and port and _taken(host, port):
        raise ConfigError(f"worker_health: another process listens on {host or '*'}:{port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # a fresh process takes over without a gap
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(f"worker_health: can't listen on {host or '*'}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def _taken(host: str, port: int) -> bool:
    """The option that lets two processes share a port lets any two of them."""
    with contextlib.suppress(OSError), socket.create_connection((host or "127.0.0.1", port), PATIENCE):
        return True
    return False


def _unix(path: str) -> socket.socket | None:
    """A listening socket at a path, in the place of any other; None, with a log line, when that can't be."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    draft = f"{path}.{os.getpid()}"
    try:
        listener.bind(draft)
        listener.listen(16)
        os.replace(draft, path)  # noqa: PTH105 -- text to text
    except OSError as error:  # the longest path is about 100 characters
        logger.warning("No health socket at %s: %s; 'amqtask check' can't ask this worker", path, error)
        listener.close()
        return None
    listener.setblocking(False)
    return listener
