"""RabbitMQ nodes for tests: starts them by ``scripts/rabbitmq``, makes and removes vhosts."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "rabbitmq"


class Node:
    """One RabbitMQ node that tests may use, and break when it is their own."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses

    @classmethod
    def start(cls, *options: str, state: Path | None = None) -> Node:
        """Start a node (idempotent); ``options`` are those of ``scripts/rabbitmq start``."""
        where = ["--state", str(state)] if state else []
        output = _run("start", *where, *options)
        lines = (line.removeprefix("export ").partition("=") for line in output.splitlines() if "=" in line)
        return cls({name: "".join(shlex.split(value)) for name, _, value in lines})

    @property
    def url(self) -> str:
        """amqp:// URL of the default vhost."""
        return self.addresses["AMQTASK_BROKER_URL"]

    @property
    def tls_url(self) -> str:
        return self.addresses["BROKER_TLS_URL"]

    @property
    def tls_folder(self) -> Path:
        """ca.pem, client.pem, client.key, ..."""
        return Path(self.addresses["BROKER_TLS_DIR"])

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    def ctl(self, *args: str) -> str:
        """Run rabbitmqctl on the node."""
        return self._command("ctl", *args)

    def restart(self) -> None:
        """Stop (if running) and start again, same ports and data."""
        self._command("restart")

    def kill(self) -> None:
        """End it without warning."""
        self._command("kill")

    def stop(self, *options: str) -> None:
        self._command("stop", *options)

    def _command(self, command: str, *args: str) -> str:
        return _run(command, "--state", self.addresses["BROKER_STATE"], *args)

    def in_vhost(self, name: str) -> str:
        """The URL with another vhost."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/{quote(name, safe='')}"

    @property
    def can_make_vhosts(self) -> bool:
        return "BROKER_MANAGEMENT_URL" in self.addresses or "BROKER_STATE" in self.addresses

    def add_vhost(self, name: str) -> str:
        """Make a vhost and return its URL."""
        if "BROKER_MANAGEMENT_URL" in self.addresses:
            user = urlsplit(self.url).username or "guest"
            self.api("PUT", f"vhosts/{quote(name, safe='')}")
            permissions = b'{"configure": ".*", "write": ".*", "read": ".*"}'
            self.api("PUT", f"permissions/{quote(name, safe='')}/{quote(user, safe='')}", permissions)
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, urlsplit(self.url).username or "guest", ".*", ".*", ".*")
        return self.in_vhost(name)

    def delete_vhost(self, name: str) -> None:
        if "BROKER_MANAGEMENT_URL" in self.addresses:
            self.api("DELETE", f"vhosts/{quote(name, safe='')}")
        else:
            self.ctl("delete_vhost", name)

    def api(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request to the management API."""
        parts = urlsplit(self.addresses["BROKER_MANAGEMENT_URL"])
        request = urllib.request.Request(
            f"{parts.scheme}://{parts.hostname}:{parts.port}/api/{path}", method=method, data=body or b""
        )
        token = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            content: bytes = answer.read()
            return content


def _run(*args: str) -> str:
    command = [sys.executable, str(SCRIPT), *args]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert result.returncode == 0, f"{shlex.join(command)}:\n{result.stdout}{result.stderr}"
    return result.stdout


def session_node() -> tuple[Node, bool]:
    """The node of a test session, and whether it was started for it.

    Taken from AMQTASK_BROKER_URL (with BROKER_STATE and BROKER_MANAGEMENT_URL beside it, when known).
    """
    names = ("AMQTASK_BROKER_URL", "BROKER_STATE", "BROKER_MANAGEMENT_URL")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if "AMQTASK_BROKER_URL" in given:
        return Node(given), False
    status = subprocess.run([sys.executable, str(SCRIPT), "status"], capture_output=True, check=False)
    return Node.start(), status.returncode != 0
