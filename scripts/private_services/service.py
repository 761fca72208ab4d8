"""One private server: a folder with its data, one process, one port on loopback. Owns starting and ending it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from private_broker.processes import HOST, alive, born, end, free_ports, listening, wait_for

from private_services.packages import Unavailable, ensure

if TYPE_CHECKING:
    from pathlib import Path

    from private_broker.processes import Process

START_SECONDS, STOP_SECONDS = 60, 20
ATTEMPTS = 3
"""Another process may take a port between its choice and its use."""
PASSWORD = "sesame"


class Service(ABC):
    """A server whose data and process live in one folder; a later object for the same folder finds them again.

    Args:
        state: the folder, made if need be.
        port: to listen on; 0 for the one it had, else a free one.
    """

    name = ""
    programs: ClassVar[tuple[str, ...]] = ()
    account = ""
    """To run under when we are root; "" for our own."""

    goodbye = signal.SIGTERM
    """What makes it end without waiting for its clients."""

    def __init__(self, state: Path, port: int = 0) -> None:
        self.state = state
        self._file = state / "service.json"
        self.info: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.port: int = port or self.info.get("port", 0)

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Setting ``result_backend`` for it."""

    def prepare(self) -> None:  # noqa: B027 -- some have none
        """Make its data, once."""

    def ready(self) -> bool:
        """Whether it serves."""
        return listening(self.port)

    @property
    def running(self) -> bool:
        return alive(self._process)

    @property
    def _process(self) -> Process | None:
        found = self.info.get("process")
        return (found[0], found[1]) if found else None

    def start(self) -> None:
        """Start it unless it runs.

        Raises:
            Unavailable: its programs can't be had here.
        """
        if self.running:
            return
        ensure(*self.programs)
        fresh = not self.port
        for _ in range(ATTEMPTS):
            if fresh:
                self.port = free_ports(1)[0]
            if not self.info:
                self.state.mkdir(parents=True, exist_ok=True)
                self.own(self.state)
                self.prepare()
            self._spawn()
            if self._comes_up():
                return
            self.kill()
        raise Unavailable(f"{self.name} does not start, see {self.state}/log")

    def _comes_up(self) -> bool:
        return wait_for(lambda: not self.running or self.ready(), START_SECONDS) and self.running

    def _spawn(self) -> None:
        with (self.state / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.run_as(),
            )
        process.returncode = 0  # it may outlive us; whether it runs, we ask the system
        self.info = {"name": self.name, "port": self.port, "process": [process.pid, born(process.pid)]}
        self._file.write_text(json.dumps(self.info))

    def stop(self) -> None:
        """End it politely; its data stays."""
        self._end(self.goodbye)

    def kill(self) -> None:
        """End it without warning."""
        self._end(signal.SIGKILL)

    def _end(self, sign: signal.Signals) -> None:
        process = self._process
        if process is not None and self.running:
            end([process], STOP_SECONDS, sign=sign)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process[0], os.WNOHANG)  # ours to bury, when we have started it

    def restart(self) -> None:
        """Stop and start with the same port and data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Kill it and throw its data away."""
        self.kill()
        shutil.rmtree(self.state, ignore_errors=True)

    def run(self, *command: str, text: str = "") -> None:
        """Run one of its tools under its account."""
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=120, check=False, **self.run_as()
        )
        if done.returncode:
            raise Unavailable(f"{command[0]}: {done.stdout}{done.stderr}".strip())

    def own(self, path: Path) -> None:
        """Give a file or folder to the server's account."""
        if entry := self._account():
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def run_as(self) -> dict[str, Any]:
        """Arguments for ``subprocess``: account and folder."""
        entry = self._account()
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if entry else {}
        return {"cwd": self.state, **identity}

    def _account(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam(self.account) if self.account and os.geteuid() == 0 else None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"
