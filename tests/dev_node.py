"""The development broker as a broker for tests: a process of its own, as users have it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from nodes import Node
from waiting import wait_for

from amqtask.testing.devbroker import ControlClient

if TYPE_CHECKING:
    from pathlib import Path


class DevNode(Node):
    """A development broker; it has the vhosts that were added also after a restart, and nothing else.

    Args:
        folder: for its control socket.
        options: more of those of ``python -m amqtask.testing.devbroker``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._control_path = folder / "control"
        self._options = options
        self._vhosts: list[str] = []
        self._process, url = self._spawn(0)
        super().__init__(url)

    def _spawn(self, port: int) -> tuple[subprocess.Popen[str], str]:
        words = ["--announce", "--port", str(port), "--control", str(self._control_path), *self._options]
        process = subprocess.Popen(
            [sys.executable, "-m", "amqtask.testing.devbroker", *words],
            stdin=subprocess.PIPE,  # it ends when this process does
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        announced: dict[str, Any] = json.loads(process.stdout.readline() or "{}")
        assert announced, f"the dev broker ended with {process.wait()}"
        self.control = ControlClient(self._control_path)
        return process, announced["url"]

    def add_vhost(self, name: str) -> str:
        self.control.add_vhost(name)
        self._vhosts.append(name)
        return self.in_vhost(name)

    def delete_vhost(self, name: str) -> None:
        self.control.delete_vhost(name)
        self._vhosts.remove(name)

    def connections(self, name: str) -> int:
        return sum(connection["client"] == name for connection in self.control.connections())

    def close_connections(self) -> None:
        self.control.drop_connections()

    def block(self) -> None:
        self.control.block()

    def unblock(self) -> None:
        self.control.unblock()

    def restart(self) -> None:
        self._end()
        self._process, _ = self._spawn(self.port)
        for name in self._vhosts:
            self.control.add_vhost(name)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        wait_for(lambda: self._process.poll() is not None)
        self._process.stdout.close()
