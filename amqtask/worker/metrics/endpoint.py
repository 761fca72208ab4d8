"""Where Prometheus asks: ``/metrics`` at an address of its own. Owns the address and its line in the log."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from amqtask.worker.http_server import Answer, HttpServer, listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.http_server import Reply
    from amqtask.worker.process.threads import NewThread

logger = logging.getLogger(__name__)


def new_endpoint(
    where: str, tell: Callable[[Reply], None], *, shared: bool = False, new_thread: NewThread = threading.Thread
) -> HttpServer:
    """A server that is to be started.

    Args:
        where: ``[HOST]:PORT``.
        tell: called in the server's thread for each question, with what takes the page.
        shared: another process may have the port: the one whose place this one takes.
        new_thread: makes a real thread where gevent has made greenlets of them.

    Raises:
        ConfigError: ``where`` is not an address, or not one to listen on.
    """

    def respond(path: str, reply: Reply) -> None:
        if path == "/metrics":
            tell(reply)
        else:
            reply(lambda: Answer(404, b"there is /metrics\n"))

    socket = listen(where, "--metrics (worker_metrics)", shared=shared)
    server = HttpServer(respond, [socket], "amqtask-metrics", new_thread)
    host = where.strip().rpartition(":")[0] or "0.0.0.0"  # noqa: S104 -- only told
    logger.info("metrics at http://%s:%d/metrics", host, server.port)
    return server
