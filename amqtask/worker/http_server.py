"""A small HTTP server for questions to this process. Owns requests, answers, and a thread and sockets for them.

Whatever the other threads do, the question is answered: what only the I/O loop knows is asked of it, for a moment.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from amqtask.broker.loop import WRITE, SelectLoop
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.worker.process.threads import NewThread

    T = TypeVar("T")
    Reply = Callable[[Callable[[], "Answer"]], None]
    """Takes what makes the answer, so that an error of that is an answer too."""

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds the I/O loop has for an answer; its turns take milliseconds."""

_REQUEST_TIME = 2.0
_WRITE_TIME = 10.0
_REQUEST_MAX = 4096
_CONNECTIONS_MAX = 100
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REASONS = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def listen(text: str, setting: str, *, shared: bool) -> socket.socket:
    """A listening socket at ``[HOST]:PORT``; without a host at all addresses of this machine.

    Args:
        text: the address; port 0 is any that is free.
        setting: where it comes from, for errors.
        shared: another process may have the port: the one whose place this one takes.

    Raises:
        ConfigError: it is not an address, or not one to listen on.
    """
    host, port = address(text, setting)
    try:
        host.encode("idna")
    except UnicodeError:  # else each use would raise it
        raise ConfigError(f"{setting}: can't listen on {host}:{port}: not a host name") from None
    if not shared and port and _taken(host, port):
        raise ConfigError(f"{setting}: another process listens on {host or '*'}:{port}")
    listener = None
    try:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # a fresh process takes over without a gap
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(f"{setting}: can't listen on {host or '*'}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def address(text: str, setting: str) -> tuple[str, int]:
    """Host and port of ``[HOST]:PORT``; an empty host is all addresses of this machine.

    Raises:
        ConfigError: it is none.
    """
    found = re.fullmatch(r"(?:\[([^]]*)\]|([^:]*)):(\d{1,5})", text.strip())
    if found is None or int(found[3]) > 65535:  # noqa: PLR2004 -- the largest port
        raise ConfigError(f"{setting}: {text!r} is not an address; write :8080 or 127.0.0.1:8080")
    return found[1] or found[2] or "", int(found[3])


def _taken(host: str, port: int) -> bool:
    """The option that lets two processes share a port lets any two of them."""
    with contextlib.suppress(OSError), socket.create_connection((host or "127.0.0.1", port), PATIENCE):
        return True
    return False


class HttpServer:
    """Sockets and a thread of their own. :meth:`start` and :meth:`stop` may be called from any thread.

    Args:
        respond: called in this thread with the path of a question, and with what is to be called once, in this thread
            too, with what makes the answer. What either raises is answered with 500.
        sockets: that listen; closed by :meth:`stop`.
        name: of the thread.
        new_thread: makes a real thread where gevent has made greenlets of them.
    """

    def __init__(
        self,
        respond: Callable[[str, Reply], None],
        sockets: Iterable[socket.socket],
        name: str,
        new_thread: NewThread = threading.Thread,
    ) -> None:
        self._respond, self._sockets = respond, list(sockets)
        self._loop = SelectLoop(real=True)
        self._connections: set[_Connection] = set()
        self._thread = new_thread(target=self._run, name=name, daemon=True)

    @property
    def port(self) -> int:
        """Of the first socket."""
        return int(self._sockets[0].getsockname()[1])

    def start(self) -> None:
        """Answer from now on."""
        for one in self._sockets:
            self._watch(one)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    def ask(self, put: Callable[[Callable[[T], None]], None], done: Callable[[T], None], otherwise: T) -> None:
        """Within ``respond``: ask another thread.

        Args:
            put: hands the question to the other thread, with what takes the answer there.
            done: called once in this thread, with the answer.
            otherwise: the answer when none has come for :data:`PATIENCE`.
        """
        asked = [done]

        def answer(found: T) -> None:
            if asked:
                self._loop.cancel(timer)
                asked.pop()(found)

        timer = self._loop.call_later(PATIENCE, lambda: answer(otherwise))
        put(lambda found: self._loop.call_soon_threadsafe(lambda: answer(found)))

    def _run(self) -> None:
        try:
            self._loop.run()
        finally:
            for connection in list(self._connections):
                connection.close()
            for one in self._sockets:
                one.close()
            self._loop.close()

    def _watch(self, listener: socket.socket) -> None:
        self._loop.watch(listener.fileno(), lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        try:
            one, _ = listener.accept()
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:  # who waits goes on waiting, and would be told of without a pause
                self._loop.unwatch(listener.fileno())
                self._loop.call_later(PATIENCE, lambda: self._watch(listener))
            return
        if len(self._connections) >= _CONNECTIONS_MAX:
            one.close()
        else:
            self._connections.add(_Connection(self._loop, one, self._respond, self._connections.discard))


class _Connection:
    """One question and its answer."""

    def __init__(
        self,
        loop: SelectLoop,
        peer: socket.socket,
        respond: Callable[[str, Reply], None],
        closed: Callable[[_Connection], None],
    ) -> None:
        self._loop, self._peer, self._respond, self._closed = loop, peer, respond, closed
        self._request, self._unsent = b"", memoryview(b"")
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
            if words[:1] not in (["GET"], ["HEAD"]):
                self._send(Answer(405, b"only GET and HEAD\n"))
            else:
                self._ask(words[1].partition("?")[0] if len(words) > 1 else "")

    def _ask(self, question: str) -> None:
        try:
            self._respond(question, self._answer)
        except Exception as error:
            self._send(_apology(error))

    def _answer(self, make: Callable[[], Answer]) -> None:
        if self._peer.fileno() < 0:
            return
        try:
            answer = make()
        except Exception as error:
            answer = _apology(error)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
        )
        body = b"" if self._request.startswith(b"HEAD") else answer.body
        self._unsent = memoryview(head.encode() + body)
        self._loop.cancel(self._timer)
        self._timer = self._loop.call_later(_WRITE_TIME, self.close)
        self._loop.add_handler(self._peer.fileno(), lambda *_: self._write(), WRITE)
        self._write()

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[self._peer.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self.close()

    def close(self) -> None:
        """End it; harmless when it has ended."""
        if self._peer.fileno() >= 0:
            self._loop.cancel(self._timer)
            self._loop.unwatch(self._peer.fileno())
            self._peer.close()
            self._closed(self)


def _apology(error: Exception) -> Answer:
    logger.error("A question over HTTP was not answered", exc_info=error)
    return Answer(500, f"{error!r}\n".encode(errors="replace"))
