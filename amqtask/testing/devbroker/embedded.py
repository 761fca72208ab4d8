"""The broker in a thread of this process. Owns the thread and its loop, and what a forked child must give up."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import selectors
import threading
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
        self._host, self._port, self._users = host, port, dict(users or {"guest": "guest"})
        self._memory_limit, self._vhosts, self._trace, self._control = memory_limit, tuple(vhosts), trace, control
        self._run: _Run | None = None

    @property
    def port(self) -> int:
        """The port it listens on; known once it has been started, and kept when it is started again."""
        return self._port

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return self._host == "localhost"

    @property
    def url(self) -> str:
        """Of the first user and the vhost ``/``."""
        return self.vhost_url("/")

    def vhost_url(self, name: str) -> str:
        """URL of a vhost for the first user; the vhost need not exist yet."""
        user, password = next(iter(self._users.items()))
        host = f"[{self._host}]" if ":" in self._host else self._host
        path = "" if name == "/" else quote(name, safe="")
        return f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{self.port}/{path}"

    def start(self) -> Self:
        """Listen; nothing happens when it runs. One that was stopped begins anew on the same port, with nothing in it.

        Raises:
            OSError: the port or the control socket is taken.
        """
        if self._run is None:
            server = Server(
                host=self._host,
                port=self._port,
                memory_limit=self._memory_limit,
                vhosts=self._vhosts,
                users=self._users,
                trace=self._trace,
            )
            server.listen()
            run = _Run(server, self._control)
            run.start()
            self._run, self._port = run, server.port
            _running.append(self)
        return self

    def stop(self) -> None:
        """End all connections and the thread; nothing happens when it doesn't run, and in a forked child."""
        run, self._run = self._run, None
        if run is not None:
            _running.remove(self)
            run.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def give_up(self) -> None:
        """Close the sockets that a forked child inherited; only for that."""
        run, self._run = self._run, None
        if run is not None:
            run.give_up()

    def _do(self, name: str, /, **arguments: Any) -> Any:
        if self._run is None:
            raise RuntimeError("the dev broker is not running in this process")
        return self._run.call(name, arguments)


class _Run:
    """A broker from start to stop: its thread, loop and sockets."""

    def __init__(self, server: Server, control: Path | None) -> None:
        self._server = server
        self._commands = Commands(server)
        self._control = None if control is None else ControlServer(control, self._commands)
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._thread = threading.Thread(target=self._live, name="amqtask-dev-broker", daemon=True)
        self._started: Future[None] = Future()

    def start(self) -> None:
        self._thread.start()
        try:
            self._started.result(TIMEOUT)
        except BaseException:
            self._thread.join(TIMEOUT)
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run a command on the broker's thread."""
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(self._commands.run(name, arguments))
            except BaseException as error:
                done.set_exception(error)

        if threading.current_thread() is self._thread:
            run()
        else:
            self._loop.call_soon_threadsafe(run)
        return done.result(TIMEOUT)

    def give_up(self) -> None:
        for holder in (self._server, self._control):
            for inherited in list(holder.sockets) if holder else ():
                inherited.close()
        self._selector.close()

    def _live(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            try:
                loop.run_until_complete(self._begin())
            except BaseException as error:
                self._started.set_exception(error)
            else:
                self._started.set_result(None)
                loop.run_forever()
            loop.run_until_complete(self._end())
        finally:
            loop.close()

    async def _begin(self) -> None:
        self._server.start()
        if self._control is not None:
            self._control.start()

    async def _end(self) -> None:
        if self._control is not None:
            await self._control.stop()
        await self._server.stop()


_running: list[DevBroker] = []


def _in_child() -> None:
    # The thread was not forked. Its connections must not stay open here, or clients would wait for a broker that is
    # gone once the parent ends.
    for broker in _running:
        broker.give_up()
    _running.clear()


os.register_at_fork(after_in_child=_in_child)
