"""A terminal in which nobody has configured a broker: commands in the foreground and in the background."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from waiting import wait_for


class Terminal:
    """Runs ``amqtask`` in a folder, without any broker configured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AMQTASK_")}
        self._files = (folder.with_suffix(".out"), folder.with_suffix(".err"))
        self.background: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A command in the background; its output goes to ``out`` and ``err``."""
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            command = [sys.executable, "-m", "amqtask", *words]
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=out, stderr=err)
        self.background.append(process)
        return process

    def broker(self, *words: str) -> str:
        """A broker in the background; its URL."""
        self.start("broker", "--port", "0", *words)
        wait_for(lambda: self.out or self.background[-1].poll() is not None, timeout=30)
        assert self.out, self.err
        return self.out[0]

    @property
    def out(self) -> list[str]:
        return self._files[0].read_text().splitlines()

    @property
    def err(self) -> str:
        return self._files[1].read_text()

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "amqtask", *words]
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended

    def wait_for(self, pattern: str, times: int = 1, timeout: float = 30.0) -> None:
        """Wait until the background command has said this so often, on stderr; fails at once when it has ended."""

        def said() -> bool:
            found = len(re.findall(pattern, self.err)) >= times
            assert found or self.background[-1].poll() is None, self.err
            return found

        try:
            wait_for(said, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nno {pattern!r} in:\n{self.err}") from None

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the folder."""
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End the background command as Ctrl-C does; its exit code."""
        self.background[-1].send_signal(number)
        return self.background[-1].wait(30)

    def close(self) -> None:
        for process in self.background:
            process.kill()
            process.wait()
