"""The dev broker of a process tree: what a ``dev://`` URL stands for.

Owns the one subprocess that the tree has for it. Whoever needs it first starts it and tells its children where it is,
by environment variables; it ends with the process that started it, even if that is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import logging
import os
import secrets
import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from amqtask import clock
from amqtask.broker.faults import dev_broker_gone
from amqtask.broker.url import BrokerURL
from amqtask.errors import AccessRefused, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

URL_VARIABLE = "AMQTASK_DEV_BROKER_URL"
"""Environment variable that names the dev broker of this process tree; then none is started."""

CONTROL_VARIABLE = "AMQTASK_DEV_BROKER_CONTROL"
"""Environment variable with the path of its control socket."""

NOTICE = (
    "started a dev broker (development only: nothing survives a restart); to use it in another terminal: export %s=%s"
)

START_TIMEOUT = 20.0
"""Seconds until it listens; it takes a fraction of one, but machines can be busy."""

_SOCKETS = "amqtask-dev-*.sock"
_STARTING = 60.0
"""Age in seconds of a socket up to which its broker may not listen yet."""
_END_TIMEOUT = 3.0
_ANSWER_TIMEOUT = 10.0


class Started(NamedTuple):
    """A dev broker that was started here.

    Attributes:
        url: for clients, vhost ``/``.
        process: ends when its standard input is closed; its output yields lines when it traces.
    """

    url: str
    process: subprocess.Popen[bytes]


class _Tree:
    """What this process knows of it. Guarded by the lock; a forked child begins with a lock of its own."""

    lock = threading.Lock()
    started: Started | None = None
    vhosts: frozenset[str] = frozenset("/")


def dev_url(vhost: str, variable: str) -> BrokerURL:
    """Where the dev broker of this process tree is; starts it if there is none. Thread-safe, and fork-safe.

    Args:
        vhost: is made when it is missing.
        variable: what to set in another terminal that is to use it too, for the log.

    Raises:
        DevBrokerGone: it was started here and has ended since.
        BrokerUnavailable: it can't be started, or does not answer.
        AccessRefused: it does not make the vhost.
    """
    with _Tree.lock:
        _check_alive()
        needed = not os.environ.get(URL_VARIABLE)
        if needed:
            _start((), stderr=None)
        if vhost not in _Tree.vhosts:
            _add_vhost(vhost)
            _Tree.vhosts |= {vhost}
    url = client_url(vhost)
    if needed:
        logger.warning(NOTICE, variable, url)
    return replace(BrokerURL.parse(url), dev=True)


def start(arguments: Sequence[str] = ()) -> Started:
    """Start the dev broker of this process tree, for a caller that reads its output; dev:// URLs mean it from now on.

    Args:
        arguments: of ``python -m amqtask.testing.devbroker``.

    Raises:
        BrokerUnavailable: it does not start; says why.
    """
    with _Tree.lock:
        assert _Tree.started is None
        return _start(arguments, stderr=subprocess.STDOUT)


def _start(arguments: Sequence[str], stderr: int | None) -> Started:
    folder = Path(tempfile.gettempdir())
    remove_dead_sockets(folder)
    control = folder / _SOCKETS.replace("*", secrets.token_hex(8))
    process = subprocess.Popen(  # noqa: S603 -- our own command line
        [sys.executable, "-m", "amqtask.testing.devbroker", "--announce", "--control", str(control), *arguments],
        stdin=subprocess.PIPE,  # its end is the broker's end
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for us: workers end first
    )
    assert process.stdout is not None
    line = _announcement(process.stdout.fileno())
    try:
        url = str(json.loads(line)["url"])
    except (ValueError, KeyError, TypeError):
        process.kill()
        code = process.wait()
        said = " ".join(line.decode(errors="replace").split()) or f"exit code {code}"
        raise BrokerUnavailable(f"the dev broker did not start: {said}") from None
    os.environ[URL_VARIABLE], os.environ[CONTROL_VARIABLE] = url, str(control)
    _Tree.started = Started(url, process)
    atexit.register(_end)
    return _Tree.started


def remove_dead_sockets(folder: Path) -> None:
    """Remove the control sockets of dev brokers that were killed: of this user, of some age, and nobody listens."""
    for path in folder.glob(_SOCKETS):
        with contextlib.suppress(OSError):  # another process does the same
            found = path.lstat()
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
                continue
            if clock.wall() - found.st_mtime > _STARTING and _refuses(path):
                path.unlink()


def _refuses(path: Path) -> bool:
    """Whether nobody has this socket open; one that is only too busy to answer does not refuse."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        return client.connect_ex(str(path)) == errno.ECONNREFUSED


def _announcement(output: int) -> bytes:
    """The line that says where it is, or else everything it says until its end."""
    said = b""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while poll.poll(START_TIMEOUT * 1000) and (data := os.read(output, 4096)):
        said += data
        *lines, _unfinished = said.split(b"\n")
        if found := [line for line in lines if line.startswith(b"{")]:
            return found[0]
    return said


def _check_alive() -> None:
    started = _Tree.started
    if started is not None and started.process.poll() is not None:
        raise dev_broker_gone(BrokerURL.parse(started.url))


def client_url(vhost: str) -> str:
    """The URL of a vhost on the dev broker that this process tree has."""
    base, _, _path = os.environ[URL_VARIABLE].partition("://")[2].partition("/")
    return f"amqp://{base}/{'' if vhost == '/' else quote(vhost, safe='')}"


def _add_vhost(name: str) -> None:
    """Make it; where the control socket is not known, whoever set the URL has seen to the vhost."""
    path = os.environ.get(CONTROL_VARIABLE)
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWER_TIMEOUT)
        try:
            client.connect(path)
            client.sendall(json.dumps({"do": "add_vhost", "name": name}).encode() + b"\n")
            answer = json.loads(client.makefile("rb").readline() or b'{"error": "no answer"}')
        except (FileNotFoundError, ConnectionRefusedError):
            raise dev_broker_gone(BrokerURL.parse(os.environ[URL_VARIABLE])) from None
        except OSError as error:
            raise BrokerUnavailable(f"the dev broker does not answer: {error}") from None
    if "error" in answer:
        raise AccessRefused(f"the dev broker refused to make the vhost {name!r}: {answer['error']}")


def _end() -> None:
    """End the broker with this process, and see that its port is free again by then."""
    started = _Tree.started
    if started is None:
        return
    _Tree.started = None
    _close_pipes(started.process)
    try:
        started.process.wait(_END_TIMEOUT)
    except subprocess.TimeoutExpired:
        started.process.kill()


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _in_child() -> None:
    """A forked child uses the broker but does not hold it: its end of the pipe would keep the broker alive."""
    _Tree.lock = threading.Lock()
    started, _Tree.started = _Tree.started, None
    if started is not None:
        _close_pipes(started.process)
        started.process.returncode = 0  # not ours to wait for


os.register_at_fork(after_in_child=_in_child)
