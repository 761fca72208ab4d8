"""Which account the node runs under, and which state folder that account can work in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from private_broker.messages import die

PROJECT = Path(__file__).resolve().parents[2]


def broker_user() -> str | None:
    """The account for the node: rabbitmq when we are root and it exists, else our own (None)."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("rabbitmq").pw_name
    return None


def as_user() -> dict[str, Any]:
    user = broker_user()
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def usable(state: Path, suite: str) -> bool:
    """Whether a node can have its state in `state`, which is made if need be.

    The account of this machine's broker has to get in; a node of another Debian suite has its files elsewhere.
    """
    node = state / "node"
    try:
        node.mkdir(parents=True, exist_ok=True)
        if suite:
            return True
        if state.stat().st_uid == os.getuid():
            state.chmod(state.stat().st_mode | 0o711)
        if user := broker_user():
            shutil.chown(node, user, pwd.getpwnam(user).pw_gid)
        test = ["sh", "-c", 'test -w "$0" && cd "$0"', str(node)]
        return subprocess.run(test, **as_user(), cwd="/", stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def refuse(state: Path) -> NoReturn:
    account = broker_user() or "of this process"
    die(f"the account {account} cannot work in {state}: choose another --state")


def state_folder(given: str | None, *, make: bool, suite: str = "") -> Path:
    """As given, else in the project, else (a clone below /root) in the temporary folder.

    Args:
        given: on the command line.
        make: it, when it is missing.
        suite: Debian suite of the node's programs; "" for those of this machine.
    """
    if given:
        state = Path(given).absolute()
        if make and not usable(state, suite):
            refuse(state)
        return state
    inside = PROJECT / ".cache" / "rabbitmq"
    digest = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:8]
    outside = Path(tempfile.gettempdir()) / f"amqtask-rabbitmq-{os.getuid()}-{digest}"
    for state in (inside, outside):
        if (state / "node.json").exists():
            return state
    if not make or usable(inside, suite):
        return inside
    shutil.rmtree(inside, ignore_errors=True)
    if not usable(outside, suite):
        refuse(outside)
    return outside


def temporary_state(suite: str) -> Path:
    """A fresh state folder in the first temporary folder that the broker's account can enter."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        state = Path(tempfile.mkdtemp(prefix="amqtask-rabbitmq-", dir=parent))
        if usable(state, suite):
            return state
        shutil.rmtree(state, ignore_errors=True)
    return die("no temporary folder that the broker's account can enter: give --state")
