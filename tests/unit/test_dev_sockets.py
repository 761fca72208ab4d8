"""Control sockets of dev brokers that were killed: the next one removes them, and none of a broker that lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from amqtask import clock
from amqtask.app import dev

AGES = 3600
PROGRAM = "from amqtask.app import dev; dev.start(); print(*sorted(dev.Path(dev.tempfile.gettempdir()).iterdir()))"


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as made:  # a path that fits into the name of a socket
        yield Path(made)


def bound(path: Path, *, age: float = AGES) -> socket.socket:
    """A socket there, as old as this."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(str(path))
    os.utime(path, (clock.wall() - age,) * 2)
    return one


def test_the_next_dev_broker_removes_the_sockets_of_those_that_were_killed(folder):
    bound(dead := folder / "amqtask-dev-0123456789abcdef.sock").close()
    there = os.environ | {"TMPDIR": str(folder)}
    said = subprocess.run([sys.executable, "-c", PROGRAM], env=there, capture_output=True, text=True, check=True)
    assert len(said.stdout.split()) == 1, said
    assert not dead.exists()
    assert list(folder.iterdir()) == []


def test_only_what_certainly_belongs_to_nobody_is_removed(folder):
    def name(number: int) -> Path:
        return folder / f"amqtask-dev-{number:016x}.sock"

    listening, full, starting, dead = bound(name(1)), bound(name(2)), bound(name(3), age=1), bound(name(4))
    listening.listen()
    full.listen(0)
    waiting = []
    while True:  # a broker that is stopped: whoever knocks has to wait
        waiting.append(one := socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        one.setblocking(False)
        if one.connect_ex(str(name(2))):
            break
    bound(foreign := folder / "somebody-else.sock").close()
    (text := folder / "amqtask-dev-notes.sock").write_text("not a socket")
    os.utime(text, (clock.wall() - AGES,) * 2)
    dead.close()
    dev.remove_dead_sockets(folder)
    assert set(folder.iterdir()) == {name(1), name(2), name(3), foreign, text}
    dev.remove_dead_sockets(folder / "missing")
    for one in (listening, full, starting, *waiting):
        one.close()
