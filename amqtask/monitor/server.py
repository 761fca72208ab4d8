"""The monitor as an ASGI application, and a server for it. Owns both, and their orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from amqtask.errors import AmqtaskError, ConfigError
from amqtask.monitor import api, pages
from amqtask.monitor.actions import Actions
from amqtask.monitor.collector import Collector
from amqtask.monitor.dead import DeadDesk
from amqtask.monitor.guard import Guard
from amqtask.monitor.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from starlette.requests import Request
    from starlette.responses import Response

    from amqtask.app.app import Amqtask
    from amqtask.monitor.options import Options

_GRACE = 3
"""Seconds that answers under way have at the end."""


@contextlib.contextmanager
def monitoring(app: Amqtask, options: Options) -> Iterator[Starlette]:
    """A monitor that listens to events as long as this is open; gives its ASGI application.

    To mount it in a program of one's own: keep this open in the program's lifespan, with ``allowed_hosts=None``.

    Args:
        app: whose cluster.
        options: of the monitor.
    """
    collector, desk = Collector(app, options), DeadDesk(app)
    source = Source(app, collector, desk)
    collector.start()
    try:
        actions = Actions(app, desk, source.forget, collector.away, read_only=options.read_only)
        yield make_asgi(source, actions, options, app)
    finally:
        collector.stop()


def make_asgi(source: Source, actions: Actions, options: Options, app: Amqtask) -> Starlette:
    """The ASGI application.

    Args:
        source: what is shown.
        actions: what can be changed.
        options: of the monitor.
        app: of whose tasks the API sends some and reads results.
    """
    paths = [
        Route("/healthcheck", _healthcheck),
        *api.routes(source, actions, app),
        *pages.routes(source, actions, options),
    ]
    asgi = Starlette(
        routes=[Mount(options.url_prefix, routes=paths)] if options.url_prefix else paths,
        middleware=[Middleware(Guard, options=options)],
        exception_handlers={AmqtaskError: _sorry},
    )
    asgi.state.stopping = asyncio.Event()
    return asgi


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the port is taken, or the address is none of this machine's.
    """
    listener = None
    try:
        kind, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(kind, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(128)
    except OSError as error:
        if listener is not None:
            listener.close()
        taken = error.errno == errno.EADDRINUSE
        reason = "another process listens there; choose another one with --port" if taken else error.strerror
        raise ConfigError(f"can't listen on {address}:{port}: {reason}") from None
    return listener


def serve(asgi: Starlette, listener: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT; what is being answered then is finished.

    Args:
        asgi: of :func:`make_asgi`.
        listener: of :func:`listen`; closed at the end.
    """
    config = uvicorn.Config(
        asgi,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE,
        lifespan="off",
        ws="none",
    )
    server = _Server(config, asgi.state.stopping)
    with _quietly(signal.SIGTERM, signal.SIGINT), listener:
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells live connections that it ends, before it waits for them."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


@contextlib.contextmanager
def _quietly(*numbers: signal.Signals) -> Iterator[None]:
    """Once more the signal that has ended it is raised by uvicorn: here that is an orderly end."""
    nothing: Callable[[int, FrameType | None], None] = lambda _number, _frame: None  # noqa: E731
    before = [signal.signal(number, nothing) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


async def _healthcheck(_request: Request) -> Response:
    return PlainTextResponse("OK")


async def _sorry(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", api.status_of(error))
