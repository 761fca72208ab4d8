"""Where a node's programs are, and how they are run: those of this machine here, others in :mod:`suite`."""

from __future__ import annotations

import pwd
import shutil
from typing import TYPE_CHECKING, Any, Protocol

from private_broker.account import as_user, broker_user
from private_broker.install import binary, install
from private_broker.suite import Suite, version_in

if TYPE_CHECKING:
    from pathlib import Path


class Installation(Protocol):
    """A RabbitMQ whose nodes can be run."""

    def ensure(self) -> None:
        """Install it when it is missing; ends the script where that is impossible."""

    def home(self, state: Path, name: str) -> Path:
        """Folder of a node's configuration, data and logs, as this machine names it."""

    def inside(self, path: Path) -> str:
        """The same path as the node's programs see it."""

    def own(self, path: Path) -> None:
        """Give a file or folder to the node's account."""

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that runs one of its programs."""

    def run_options(self, home: Path) -> dict[str, Any]:
        """Arguments for ``subprocess``: account and current folder."""

    def variables(self) -> dict[str, str]:
        """Environment variables its programs need besides the node's own."""

    def version(self) -> str:
        """Of RabbitMQ; "" when it can't be told."""


class Machine:
    """The RabbitMQ of this machine."""

    def ensure(self) -> None:
        if binary("rabbitmq-server") is None or not shutil.which("epmd"):
            install("rabbitmq-server")

    def home(self, state: Path, name: str) -> Path:  # noqa: ARG002 -- the state folder has one node
        return state / "node"

    def inside(self, path: Path) -> str:
        return str(path)

    def own(self, path: Path) -> None:
        if user := broker_user():
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)

    def command(self, program: str, *arguments: str) -> list[str]:
        return [str(binary(program) or program), *arguments]

    def run_options(self, home: Path) -> dict[str, Any]:
        return {"cwd": home, **as_user()}

    def variables(self) -> dict[str, str]:
        return {}

    def version(self) -> str:
        server = binary("rabbitmq-server")
        return version_in(server.parent.parent) if server else ""


def installation(suite: str) -> Installation:
    """That of a Debian suite, or for "" this machine's own."""
    return Suite(suite) if suite else Machine()
