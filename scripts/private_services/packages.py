"""The servers' programs: where Debian puts them, and installing them without starting a service of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from private_broker.install import no_services

PACKAGES = {
    "redis-server": "redis-server",
    "redis-sentinel": "redis-sentinel",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "memcached": "memcached",
}
"""Program -> Debian's package."""


class Unavailable(Exception):
    """A server can't be had on this machine, for the reason in the text."""


def program(name: str) -> str:
    """The path of a program; "" when it is not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = versions[-1] if versions else shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    return str(found or "")


def ensure(*names: str) -> None:
    """Install the packages of programs that are missing.

    Raises:
        Unavailable: that is impossible here.
    """
    missing = sorted({PACKAGES[name] for name in names if not program(name)})
    if missing:
        install(missing)
    for name in names:
        if not program(name):
            raise Unavailable(f"{PACKAGES[name]} has no program {name}")


def install(packages: list[str]) -> None:
    """Install Debian packages; what they would start stays stopped."""
    words = " ".join(packages)
    if not shutil.which("apt-get"):
        raise Unavailable(f"{words} not installed, and this is no Debian")
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if root and (not shutil.which("sudo") or subprocess.run([*root, "true"], check=False).returncode):
        raise Unavailable(f"{words} not installed: run `apt-get install {words}` as root")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    log = Path(tempfile.gettempdir()) / f"amqtask-apt-{os.getuid()}.log"
    with log.open("ab") as out, no_services(root):
        subprocess.run([*apt, "update"], stdout=out, stderr=out, check=False)
        done = subprocess.run(
            [*apt, "install", "-y", "--no-install-recommends", *packages], stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise Unavailable(f"apt-get could not install {words}, see {log}")
    log.unlink(missing_ok=True)
