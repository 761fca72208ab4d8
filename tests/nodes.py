"""Brokers for tests: what a test may ask of one, and RabbitMQ nodes, which ``scripts/rabbitmq`` starts."""

from __future__ import annotations

import base64
import shlex
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest
from pamqp import frame

from amqtask.broker.version import read_version

if TYPE_CHECKING:
    from amqtask.topology.declarations import Version

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "rabbitmq"


class Node:
    """A broker that tests may use, and break when it is their own.

    Args:
        url: amqp:// URL of the default vhost.
    """

    can_make_vhosts = True

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    @cached_property
    def version(self) -> Version:
        """Product and version, as it tells them; the dev broker tells the version of RabbitMQ that it emulates."""
        return read_version(server_properties(self.url))

    @property
    def is_dev(self) -> bool:
        """Whether it is amqtask's own development broker."""
        return self.version.product != "RabbitMQ"

    def in_vhost(self, name: str) -> str:
        """The URL with another vhost."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/{quote(name, safe='')}"

    def add_vhost(self, name: str) -> str:
        """Make a vhost and return its URL."""
        raise NotImplementedError

    def delete_vhost(self, name: str) -> None:
        raise NotImplementedError

    def connections(self, name: str) -> int:
        """How many connections there are whose client called itself ``name``."""
        raise NotImplementedError

    def close_connections(self) -> None:
        """Close all connections from the broker's side, as an operator would."""
        raise NotImplementedError

    def block(self) -> None:
        """Take nothing from publishers until :meth:`unblock`, as a broker that is short of memory."""
        raise NotImplementedError

    def unblock(self) -> None:
        raise NotImplementedError

    def restart(self) -> None:
        """Stop (if running) and start again on the same port; only RabbitMQ keeps what it had."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it without warning."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it; what it has is thrown away."""
        raise NotImplementedError


class RabbitNode(Node):
    """One RabbitMQ node.

    Args:
        addresses: as ``scripts/rabbitmq`` prints them; all but AMQTASK_BROKER_URL may be missing.
    """

    def __init__(self, addresses: dict[str, str]) -> None:
        super().__init__(addresses["AMQTASK_BROKER_URL"])
        self.addresses = addresses

    @classmethod
    def start(cls, *options: str, state: Path | None = None) -> RabbitNode:
        """Start a node (idempotent); ``options`` are those of ``scripts/rabbitmq start``."""
        where = ["--state", str(state)] if state else []
        output = _run("start", *where, *options)
        lines = (line.removeprefix("export ").partition("=") for line in output.splitlines() if "=" in line)
        return cls({name: "".join(shlex.split(value)) for name, _, value in lines})

    @property
    def tls_url(self) -> str:
        return self.addresses["BROKER_TLS_URL"]

    @property
    def tls_folder(self) -> Path:
        """ca.pem, client.pem, client.key, ..."""
        return Path(self.addresses["BROKER_TLS_DIR"])

    @property
    def has_ctl(self) -> bool:
        """Whether rabbitmqctl reaches it: it was started by ``scripts/rabbitmq``."""
        return "BROKER_STATE" in self.addresses

    @property
    def has_api(self) -> bool:
        return "BROKER_MANAGEMENT_URL" in self.addresses

    @property
    def can_make_vhosts(self) -> bool:  # type: ignore[override]
        return self.has_api or self.has_ctl

    def ctl(self, *args: str) -> str:
        """Run rabbitmqctl on the node."""
        return self._command("ctl", *args)

    def _command(self, command: str, *args: str) -> str:
        return _run(command, "--state", self.addresses["BROKER_STATE"], *args)

    def restart(self) -> None:
        self._command("restart")

    def kill(self) -> None:
        self._command("kill")

    def stop(self) -> None:
        self._command("stop", "--purge")

    def halt(self) -> None:
        """End it and keep its data."""
        self._command("stop")

    def add_vhost(self, name: str) -> str:
        user = urlsplit(self.url).username or "guest"
        if self.has_api:
            self.api("PUT", f"vhosts/{quote(name, safe='')}")
            permissions = b'{"configure": ".*", "write": ".*", "read": ".*"}'
            self.api("PUT", f"permissions/{quote(name, safe='')}/{quote(user, safe='')}", permissions)
        else:
            self.ctl("add_vhost", name)
            self.ctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        return self.in_vhost(name)

    def delete_vhost(self, name: str) -> None:
        if self.has_api:
            self.api("DELETE", f"vhosts/{quote(name, safe='')}")
        else:
            self.ctl("delete_vhost", name)

    def connections(self, name: str) -> int:
        if self.has_ctl:
            return self.ctl("list_connections", "client_properties").count(f'"{name}"')
        if self.has_api:
            return self.api("GET", "connections").decode().count(f'"connection_name":"{name}"')
        return pytest.skip("the broker's list of connections is out of reach")

    def close_connections(self) -> None:
        self.ctl("close_all_connections", "--global", "test")

    def block(self) -> None:
        self.ctl("set_vm_memory_high_watermark", "0.0000001")

    def unblock(self) -> None:
        self.ctl("set_vm_memory_high_watermark", "0.4")

    def import_definitions(self, text: str) -> None:
        """Declare what a file of RabbitMQ's definitions says."""
        if self.has_api:
            self.api("POST", "definitions", text.encode())
        elif self.has_ctl:
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                file.write(text)
                file.flush()
                Path(file.name).chmod(0o644)  # the node runs under another account
                self.ctl("import_definitions", file.name)
        else:
            pytest.skip("nothing reaches the broker that imports definitions")

    def api(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request to the management API."""
        parts = urlsplit(self.addresses["BROKER_MANAGEMENT_URL"])
        request = urllib.request.Request(
            f"{parts.scheme}://{parts.hostname}:{parts.port}/api/{path}", method=method, data=body or b""
        )
        token = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
            return content


def server_properties(url: str) -> dict[str, object]:
    """What a broker says about itself at the begin of a connection."""
    parts = urlsplit(url)
    tls = parts.scheme == "amqps"
    plain = socket.create_connection((parts.hostname or "", parts.port or (5671 if tls else 5672)), 10)
    with ssl._create_unverified_context().wrap_socket(plain) if tls else plain as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        received = b""
        while len(received) < 7 or len(received) < 8 + int.from_bytes(received[3:7]):
            piece = connection.recv(65536)
            assert piece, f"{url} ends the connection after {received!r}"
            received += piece
    properties: dict[str, object] = frame.unmarshal(received)[2].server_properties
    return properties


def _run(*args: str) -> str:
    command = [sys.executable, str(SCRIPT), *args]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert result.returncode == 0, f"{shlex.join(command)}:\n{result.stdout}{result.stderr}"
    return result.stdout
