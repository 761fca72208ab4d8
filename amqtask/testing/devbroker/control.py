"""The control socket: commands for a broker in another process.

Owns the wire format: a unix socket that only its user can open; one JSON object per line, ``{"do": name, ...}``,
answered by ``{"ok": value}`` or ``{"error": text}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.commands import CommandError
from amqtask.testing.devbroker.facade import Facade

if TYPE_CHECKING:
    from amqtask.testing.devbroker.commands import Commands

LOG = logging.getLogger(__name__)

ONLY_OWNER = 0o600
LONGEST_REQUEST = 1 << 20
TIMEOUT = 30.0
"""Seconds a client waits for an answer."""


class ControlServer:
    """Serves a control socket on the broker's loop.

    Args:
        path: where the socket is to be; a dead one there is replaced.
        commands: the broker's.
    """

    def __init__(self, path: Path, commands: Commands) -> None:
        self.path = path
        self._commands = commands
        self._listener: socket.socket | None = None
        self._clients: dict[socket.socket, asyncio.Task[None]] = {}

    @property
    def sockets(self) -> list[socket.socket]:
        """Every socket that is open, for a forked child to give up."""
        return [*self._clients, *filter(None, [self._listener])]

    def start(self) -> None:
        """Open the socket.

        Raises:
            OSError: the path is in use, too long or not writable.
        """
        if self.path.is_socket() and not _answers(self.path):
            self.path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind(str(self.path))
            # Before it listens, so that nobody was ever let in by a wider mode.
            self.path.chmod(ONLY_OWNER)
            listener.listen()
        except OSError:
            listener.close()
            raise
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    async def stop(self) -> None:
        """Close and remove the socket."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        self.path.unlink(missing_ok=True)
        tasks = list(self._clients.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            self._clients[client] = asyncio.get_running_loop().create_task(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        try:
            while data := await loop.sock_recv(client, 1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await loop.sock_sendall(client, self._answer(line))
                if len(rest) > LONGEST_REQUEST:
                    return
        except OSError:
            pass  # it went away
        finally:
            del self._clients[client]
            client.close()

    def _answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or not isinstance(request.get("do"), str):
                raise CommandError('a request is an object like {"do": "vhosts"}')  # noqa: TRY301
            answer = {"ok": self._commands.run(request.pop("do"), request)}
        except ValueError as error:
            answer = {"error": str(error)}
        except Exception as error:
            LOG.exception("control socket")
            answer = {"error": f"{type(error).__name__}: {error}"}
        return json.dumps(answer).encode() + b"\n"


class ControlClient(Facade):
    """Commands for the broker behind a control socket; opens it anew for each, so there is nothing to close.

    Args:
        path: of the socket.

    Raises:
        CommandError: by each method, when the broker refuses it.
        OSError: by each method, when nobody answers.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def _do(self, name: str, /, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT)
            client.connect(str(self.path))
            client.sendall(json.dumps({"do": name, **arguments}).encode() + b"\n")
            with client.makefile("rb") as lines:
                line = lines.readline()
        if not line:
            raise ConnectionResetError("the broker hung up")
        answer = json.loads(line)
        if "error" in answer:
            raise CommandError(answer["error"])
        return answer["ok"]


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
