"""Finding RabbitMQ's programs, and installing Debian packages without starting services."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from private_broker.messages import UNAVAILABLE, die, say

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN_BIN = Path("/usr/lib/rabbitmq/bin")
POLICY = Path("/usr/sbin/policy-rc.d")


def binary(name: str) -> Path | None:
    """The tool itself: Debian's wrapper in /usr/sbin refuses users other than root and rabbitmq."""
    if (DEBIAN_BIN / name).exists():
        return DEBIAN_BIN / name
    found = shutil.which(name)
    return Path(found).resolve() if found else None


def install(package: str) -> None:
    """Install a Debian package without letting it start a service."""
    if not (sys.platform == "linux" and shutil.which("apt-get") and Path("/etc/debian_version").exists()):
        die(
            f"{package} is not installed and this is no Debian. Install it, or run "
            "`docker compose up -d rabbitmq` and set AMQTASK_BROKER_URL=amqp://amqtask:amqtask@127.0.0.1:5672/",
            UNAVAILABLE,
        )
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if root and (
        not shutil.which("sudo") or subprocess.run([*root, "true"], capture_output=True, check=False).returncode
    ):
        die(
            f"{package} is not installed: run `apt-get install {package}` as root, or set AMQTASK_BROKER_URL",
            UNAVAILABLE,
        )
    say(f"installing {package} ...")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    log = Path(tempfile.gettempdir()) / f"amqtask-apt-{os.getuid()}.log"
    with log.open("ab") as out, no_services(root):
        subprocess.run([*apt, "update"], stdout=out, stderr=out, check=False)
        command = [*apt, "install", "-y", "--no-install-recommends", package]
        if subprocess.run(command, stdout=out, stderr=out, check=False).returncode:
            die(f"apt-get could not install {package}, see {log}", UNAVAILABLE)
    log.unlink(missing_ok=True)


@contextlib.contextmanager
def no_services(root: list[str]) -> Iterator[None]:
    """Keep dpkg from starting services meanwhile (Debian's policy-rc.d), then restore."""
    if POLICY.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w", suffix="-policy") as script:
        script.write("#!/bin/sh\nexit 101\n")
        script.flush()
        subprocess.run([*root, "install", "-m", "755", script.name, str(POLICY)], check=True)
    try:
        yield
    finally:
        subprocess.run([*root, "rm", "-f", str(POLICY)], check=False)
        if Path("/run/systemd/system").exists():  # it was installed for private nodes, not for every boot
            command = [*root, "systemctl", "disable", "rabbitmq-server"]
            subprocess.run(command, capture_output=True, check=False)
