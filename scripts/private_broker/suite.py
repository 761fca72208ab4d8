"""RabbitMQ of another Debian suite: its packages in a folder of their own, its programs run in a chroot.

The folders are made once per user and version, below ``$XDG_CACHE_HOME/amqtask/rabbitmq`` (``~/.cache``), and shared
by all nodes and clones; remove one to have it made anew. A node's own files are in ``srv`` of that folder, as nothing
outside is visible to its programs. They go with the node (``stop --purge``), or when its state folder is gone.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from private_broker.root_folder import make_root_folder
from private_broker.versions import SUITES

ACCOUNT = "rabbitmq"
OWNER = "state-folder"
"""File in a node's folder with the path of the state folder that it belongs to."""

# A private mount table, where this account may have one: /proc is there for the node only, and gone with it.
PRIVATE_PROC = 'mount -t proc proc "$0/proc" 2>/dev/null; exec chroot --userspec=rabbitmq:rabbitmq "$0" "$@"'
IN_HOME = 'cd "$HOME" && exec "$@"'


class Suite:
    """The RabbitMQ of a Debian suite other than this machine's."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.folder = cache_folder()
        self.root = self.folder / suite

    def ensure(self) -> None:
        version = next(version for version, suite in SUITES.items() if suite == self.suite)
        make_root_folder(self.folder, self.suite, f"RabbitMQ {version}")
        self._clean()

    def _clean(self) -> None:
        """Remove the files of nodes whose state folders were removed by hand."""
        for home in (self.root / "srv").iterdir():
            owner = home / OWNER
            if owner.exists() and not Path(owner.read_text()).exists():
                shutil.rmtree(home, ignore_errors=True)

    def home(self, state: Path, name: str) -> Path:
        home = self.root / "srv" / name
        if not home.exists() and state.exists():
            home.mkdir()
            (home / OWNER).write_text(str(state))
            self.own(home)
        return home

    def inside(self, path: Path) -> str:
        return f"/{path.relative_to(self.root)}"

    def own(self, path: Path) -> None:
        os.chown(path, *self._account())

    def _account(self) -> tuple[int, int]:
        for line in (self.root / "etc" / "passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == ACCOUNT:
                return int(user), int(group)
        raise LookupError(f"no account {ACCOUNT} in {self.root}")

    def command(self, program: str, *arguments: str) -> list[str]:
        path = f"/usr/lib/rabbitmq/bin/{program}"
        if not (self.root / path[1:]).exists():
            path = f"/usr/bin/{program}"
        there = ["sh", "-c", IN_HOME, "sh", path, *arguments]
        if mounts_in_private():
            return ["unshare", "--mount", "sh", "-c", PRIVATE_PROC, str(self.root), *there]
        return ["chroot", f"--userspec={ACCOUNT}:{ACCOUNT}", str(self.root), *there]

    def run_options(self, home: Path) -> dict[str, Any]:  # noqa: ARG002 -- the command itself sees to it
        return {"cwd": "/"}

    def variables(self) -> dict[str, str]:
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": "/tmp"}

    def version(self) -> str:
        return version_in(self.root / "usr" / "lib" / "rabbitmq")


def version_in(installed: Path) -> str:
    """The version of the RabbitMQ in a folder of Debian's layout; "" for other layouts."""
    prefix = "rabbitmq_server-"
    return next((path.name.removeprefix(prefix) for path in installed.glob(f"lib/{prefix}*")), "")


def cache_folder() -> Path:
    """Where this user's root folders are."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "amqtask" / "rabbitmq"


@functools.cache
def mounts_in_private() -> bool:
    """Whether this account may have a mount table of its own; in many containers it may not."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
