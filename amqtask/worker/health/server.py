"""Answers to "is this worker all right?" over HTTP. Owns the questions, and the Unix socket where they are told too.

    /livez      the I/O loop turns and the worker has not found itself broken; a broker that is away is no reason
    /readyz     it consumes all of its queues, and goes on doing so
    /startupz   it has come up: as /livez

The I/O loop is asked at each question, so a frozen loop is told as such, and nothing happens in between. The
same is told on a Unix socket beside the pidfile, for ``amqtask check``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

from amqtask.worker.http_server import Answer, HttpServer, listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.http_server import Reply
    from amqtask.worker.process.threads import NewThread

logger = logging.getLogger(__name__)

_JSON = "application/json"


class Health(NamedTuple):
    """What the worker says of itself; empty texts mean all is well.

    Attributes:
        broken: why it should be started again.
        unready: why it does not do its work now.
    """

    broken: str = ""
    unready: str = ""


FROZEN = Health("the I/O loop does not answer", "the I/O loop does not answer")


def verdict(question: str, health: Health) -> tuple[int, str]:
    """Status and text that answer a path."""
    if question == "/readyz":
        return (503, health.unready) if health.unready else (200, "ready")
    if question in ("/livez", "/startupz"):
        return (503, health.broken) if health.broken else (200, "live")
    return 404, "there are /livez, /readyz and /startupz"


class HealthServer:
    """Answers at an address and at a path. :meth:`start` and :meth:`stop` may be called from any thread.

    Args:
        ask: called with what takes the answer, in the server's thread; hands the question to the I/O loop.
        where: ``[HOST]:PORT``, or None.
        path: of a Unix socket, or None.
        shared: another process may have the port: the one whose place this one takes.
        new_thread: makes a real thread where gevent has made greenlets of them.

    Raises:
        ConfigError: ``where`` is not an address, or not one to listen on.
    """

    def __init__(
        self,
        ask: Callable[[Callable[[Health], None]], None],
        where: str | None,
        path: str | None = None,
        *,
        shared: bool = False,
        new_thread: NewThread = threading.Thread,
    ) -> None:
        self._ask = ask
        sockets = [] if where is None else [listen(where, "--health (worker_health)", shared=shared)]
        self._shared, self._path, self._inode = shared, path, 0
        self._draft = f"{path}.{os.getpid()}"
        if path is not None and (beside := _unix(self._draft, path)) is not None:
            sockets.append(beside)
            self._inode = os.stat(self._draft).st_ino  # noqa: PTH116 -- a text
        self._server = HttpServer(self._respond, sockets, "amqtask-health", new_thread)

    @property
    def port(self) -> int:
        """Of the address."""
        return self._server.port

    def start(self) -> None:
        """Answer from now on; at the path as well, unless another process may answer there."""
        self._server.start()
        if not self._shared:
            self.take_path()

    def take_path(self) -> None:
        """Answer at the path from now on, in the place of any other process."""
        if self._path is not None and self._inode:
            with contextlib.suppress(OSError):  # it was taken before, or its folder is gone
                os.replace(self._draft, self._path)  # noqa: PTH105 -- text to text

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()
        self._remove_path()

    def _remove_path(self) -> None:
        """Unless the process that has taken over listens there."""
        for path in (self._path, self._draft) if self._path is not None else ():
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == self._inode:  # noqa: PTH116
                    os.unlink(path)  # noqa: PTH108

    def _respond(self, question: str, reply: Reply) -> None:
        def told(health: Health) -> None:
            status, text = verdict(question, health)
            body = json.dumps({"ok": status == 200, "status": text}).encode() + b"\n"  # noqa: PLR2004
            reply(lambda: Answer(status, body, _JSON))

        self._server.ask(self._ask, told, FROZEN)


def _unix(draft: str, path: str) -> socket.socket | None:
    """A listening socket at a path that becomes another one; None, with a log line, when that can't be."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(draft)
        listener.listen(16)
    except OSError as error:  # the longest path is about 100 characters
        logger.warning("No health socket at %s: %s; 'amqtask check' can't ask this worker", path, error)
        listener.close()
        return None
    listener.setblocking(False)
    return listener
