"""Runs ``python -m amqtask`` as a user would, in a folder with an app and a routing file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ROUTING = """\
version: 1
exchanges:
  tasks: {type: topic}
queues:
  emails:
    bindings: [{exchange: tasks, routing_key: "email.#"}]
    retry: {delays: [5s, 30s], max_retries: 3}
  files.small: {bindings: [{exchange: tasks, routing_key: file.small}]}
routes:
  - {task: "shop.mail.*", exchange: tasks, routing_key: email.send, priority: 7}
  - {task: shop.small, queue: files.small}
  - {task: "*", queue: emails}
"""

APP = """\
from amqtask import Amqtask

app = Amqtask("shop", routing="routing.yaml")


@app.task(name="shop.mail.send")
def send(to, body=""):
    raise ValueError(f"no such address: {to}")
"""


@dataclass
class Shell:
    """A folder and a broker."""

    folder: Path
    url: str

    def run(self, *words: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit code."""
        ended = subprocess.run(
            [sys.executable, "-m", "amqtask", *words],
            cwd=self.folder,
            env={**os.environ, "AMQTASK_BROKER_URL": self.url},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback (most recent" not in ended.stderr
        return ended

    def json(self, *words: str, code: int = 0) -> Any:
        """Run a command with --json and read what it prints."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def queues(self) -> dict[str, dict[str, Any]]:
        return {row["queue"]: row for row in self.json("queue", "list")["queues"]}


def new_shell(folder: Path, url: str) -> Shell:
    """A shell in a folder that gets the app and the routing file."""
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "shop.py").write_text(APP)
    return Shell(folder, url)
