"""The broker in a thread of this process. Owns the thread and its loop, and what a forked child must give up."""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from amqtask.testing.devbroker.commands import Commands
from amqtask.testing.devbroker.control import ControlServer
from amqtask.testing.devbroker.facade import Facade
from amqtask.testing.devbroker.server import Server
from amqtask.testing.devbroker.state import MEMORY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

TIMEOUT = 30.0
"""Seconds that a command may take."""


class DevBroker(Facade):
    """A broker in a thread of this process, for tests and development; nothing survives :meth:`stop`.

    Methods block until the broker has done it and may be called from any thread. A child made by ``os.fork`` gives up
    the broker's sockets and has no broker.

    Args:
        host: address to listen on; anything but a loopback address lets strangers in.
        port: 0 for a free one.
        memory_limit: bytes of stored messages from which on publishers are blocked; None: no limit.
        vhosts: names of the vhosts to begin with.
        users: names and passwords; everybody may do everything.
        trace: called on the broker's thread with a line of text for every method.
        control: where a control socket is to be opened.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        memory_limit: int | None = MEMORY_LIMIT,
        vhosts: Sequence[str] = ("/",),
        users: Mapping[str, str] | None = None,
        trace: Callable[[str], None] | None = None,
        control: Path | None = None,
    ) -> None:
        self._server = Server(
            host=host, port=port, memory_limit=memory_limit, vhosts=vhosts, users=users, trace=trace
        )
        self._commands = Commands(self._server)
        self._control = None if control is None else ControlServer(control, self._commands)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._selector: selectors.BaseSelector | None = None
        self._pid = 0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def url(self) -> str:
        """Of the first user and the vhost ``/``."""
        return self.vhost_url("/")

    def vhost_url(self, name: str) -> str:
        """URL of a vhost for the first user; the vhost need not exist yet."""
        user, password = next(iter(self._server.state.users.items()))
        host = f"[{self._server.host}]" if ":" in self._server.host else self._server.host
        path = "" if name == "/" else quote(name, safe="")
        return f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{self.port}/{path}"

    def start(self) -> Self:
        """Listen; nothing happens when it runs.

        Raises:
            OSError: the port is taken.
        """
        if self._thread is None:
            self._server.listen()
            self._selector = selectors.DefaultSelector()
            self._loop = asyncio.SelectorEventLoop(self._selector)
            self._pid = os.getpid()
            started: Future[None] = Future()
            self._thread = threading.Thread(
                target=self._run, args=(self._loop, started), name="amqtask-dev-broker", daemon=True
            )
            self._thread.start()
            _running.add(self)
            try:
                started.result(TIMEOUT)
            except BaseException:
                self._thread.join(TIMEOUT)
                self._thread = None
                raise
        return self

    def stop(self) -> None:
        """End all connections and the thread; nothing happens when it doesn't run, and in a forked child."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None or self._pid != os.getpid():
            return
        self._thread = None
        _running.discard(self)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def give_up_sockets(self) -> None:
        """Close what a forked child inherited; only for that."""
        for inherited in [*self._server.sockets, *(self._control.sockets if self._control else [])]:
            inherited.close()
        if self._selector is not None:
            self._selector.close()

    def _do(self, name: str, /, **arguments: Any) -> Any:
        loop = self._loop
        if self._thread is None or loop is None or self._pid != os.getpid():
            raise RuntimeError("the dev broker is not running in this process")
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(self._commands.run(name, arguments))
            except BaseException as error:
                done.set_exception(error)

        if threading.current_thread() is self._thread:
            run()
        else:
            loop.call_soon_threadsafe(run)
        return done.result(TIMEOUT)

    def _run(self, loop: asyncio.AbstractEventLoop, started: Future[None]) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._begin())
        except BaseException as error:
            loop.run_until_complete(self._server.stop())
            loop.close()
            started.set_exception(error)
            return
        started.set_result(None)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(self._end())
            loop.close()

    async def _begin(self) -> None:
        self._server.start()
        if self._control is not None:
            self._control.start()

    async def _end(self) -> None:
        if self._control is not None:
            await self._control.stop()
        await self._server.stop()


_running: weakref.WeakSet[DevBroker] = weakref.WeakSet()


def _in_child() -> None:
    # The thread was not forked. Its connections must not stay open here, or clients would wait for a broker that is
    # gone once the parent ends.
    for broker in list(_running):
        broker.give_up_sockets()
    _running.clear()


os.register_at_fork(after_in_child=_in_child)
