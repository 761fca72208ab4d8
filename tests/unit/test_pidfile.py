"""Pidfiles: one living process at a time, stale ones replaced, handed over to a successor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from amqtask.cli.exits import CANNOT_CREATE, CannotCreate, exit_code
from amqtask.cli.pidfile import Pidfile, alive


@pytest.fixture
def other():
    """A process that lives as long as the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_the_file_holds_our_id_until_we_remove_it(tmp_path):
    file = Pidfile(tmp_path / "w.pid")
    file.write()
    assert file.path.read_text() == f"{os.getpid()}\n"
    assert file.owner() == os.getpid()
    assert list(tmp_path.iterdir()) == [file.path]
    file.remove()
    assert not file.path.exists()


def test_the_socket_beside_it_goes_with_the_file_and_stays_when_another_process_has_that(tmp_path, other):
    file = Pidfile(tmp_path / "w.pid")
    socket = tmp_path / "w.pid.health"  # left by a worker that has failed at its start
    socket.touch()
    file.path.write_text(f"{other.pid}\n")
    file.remove()
    assert socket.exists()
    file.path.unlink()
    file.write()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_file(tmp_path, other):
    file = Pidfile(tmp_path / "w.pid")
    file.path.write_text(f"{other.pid}\n")
    with pytest.raises(CannotCreate, match=f"process {other.pid} is running already") as refused:
        file.write()
    assert exit_code(refused.value) == CANNOT_CREATE
    file.remove()
    assert file.path.read_text() == f"{other.pid}\n"


def test_the_process_that_hands_over_gives_its_file(tmp_path, other):
    file = Pidfile(tmp_path / "w.pid")
    file.path.write_text(f"{other.pid}\n")
    file.write(instead_of=other.pid)
    assert file.owner() == os.getpid()


@pytest.mark.parametrize("text", ["", "not a number", "99999999", "-1"])
def test_a_file_that_names_no_process_is_stale(tmp_path, text):
    file = Pidfile(tmp_path / "w.pid")
    file.path.write_text(text)
    file.write()
    assert file.owner() == os.getpid()


def test_an_id_that_was_given_out_again_since_is_stale(tmp_path, other):
    file = Pidfile(tmp_path / "w.pid")
    file.path.write_text(f"{other.pid}\n")
    os.utime(file.path, (0, 0))
    assert file.owner() is None


HOLDS = """
import sys
from pathlib import Path
from amqtask.cli.pidfile import Pidfile
file = Pidfile(Path(sys.argv[1]))
file.write()
print("written", flush=True)
input()
"""


def test_a_file_is_its_process_s_whatever_becomes_of_the_clock(tmp_path):
    path = tmp_path / "w.pid"
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        os.utime(path, (0, 0))
        assert Pidfile(path).owner() == process.pid
        process.kill()
    assert Pidfile(path).owner() is None


def test_a_process_that_nobody_has_waited_for_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not alive(process.pid)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CannotCreate, match="No such file"):
        Pidfile(tmp_path / "missing" / "w.pid").write()
