"""Root file systems with the rabbitmq-server of a Debian suite, made by debootstrap."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from private_broker.install import install
from private_broker.messages import UNAVAILABLE, die, say

if TYPE_CHECKING:
    from collections.abc import Iterator

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SCRIPTS = Path("/usr/share/debootstrap/scripts")
SECONDS = 900


def make_root_folder(cache: Path, suite: str, what: str) -> None:
    """Make ``cache/suite`` unless it is there: about 400 MB, half a minute to two minutes.

    Args:
        cache: folder of the root folders, made if need be.
        suite: Debian's code name.
        what: for messages.

    Ends the script with UNAVAILABLE where it can't be made.
    """
    root = cache / suite
    if root.exists() and os.geteuid() == 0:
        return
    if os.geteuid() != 0:
        die(f"{what} of Debian {suite} runs in a chroot, for which this has to be root", UNAVAILABLE)
    with _locked(cache, suite):
        if root.exists():  # made by another process meanwhile
            return
        if not shutil.which("debootstrap"):
            install("debootstrap")
        if not KEYRING.exists():
            install("debian-archive-keyring")
        say(f"getting {what} of Debian {suite}, once, into {root} ...")
        unfinished = cache / f"{suite}.new"
        _unmount(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            _debootstrap(suite, unfinished, cache / f"{suite}.log", what)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        unfinished.rename(root)


@contextlib.contextmanager
def _locked(cache: Path, suite: str) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{suite}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _debootstrap(suite: str, root: Path, log: Path, what: str) -> None:
    # a debootstrap knows the suites of its time; those after it are made like sid
    script = suite if (SCRIPTS / suite).exists() else "sid"
    command = ["debootstrap", "--variant=minbase", "--include=rabbitmq-server", f"--keyring={KEYRING}"]
    failed = f"{what} could not be got from Debian {suite} at {mirror()}"
    try:
        with log.open("wb") as out:
            done = subprocess.run(
                [*command, suite, str(root), mirror(), script], stdout=out, stderr=out, timeout=SECONDS, check=False
            )
    except subprocess.TimeoutExpired:
        die(f"{failed} in {SECONDS} s, see {log}", UNAVAILABLE)
    finally:
        _unmount(root)
    if done.returncode or not (root / "usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        die(f"{failed}: {last or 'no word from debootstrap'} (all of it: {log})", UNAVAILABLE)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")  # nodes are called name@localhost
    for folder in (root / "var/cache/apt/archives", root / "var/lib/apt/lists"):
        for path in folder.glob("*"):
            if path.is_file():
                path.unlink()
    log.unlink()


def mirror() -> str:
    """BROKER_DEBIAN_MIRROR, else the one this machine gets its own packages from, else Debian's."""
    if given := os.environ.get("BROKER_DEBIAN_MIRROR"):
        return given
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return next((uri for uri in answer.split() if uri.rstrip("/").endswith("/debian")), MIRROR)


def _unmount(root: Path) -> None:
    """What an interrupted debootstrap has left mounted; removing the folder must not reach into it."""
    for name in ("proc", "sys", "dev/pts", "dev"):
        if os.path.ismount(root / name):
            subprocess.run(["umount", "--lazy", str(root / name)], capture_output=True, check=False)
