"""What a program that runs on does to its process: paths with its name, another user, the launch of a successor."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from amqtask import ConfigError
from amqtask.cli.daemon import Program, become, expand_path
from amqtask.cli.exits import CannotCreate
from amqtask.cli.process_options import ProcessOptions
from amqtask.cli.setup import Setup
from amqtask.worker.successor import PREDECESSOR, READY


@pytest.mark.parametrize(
    ("path", "expanded"),
    [
        ("/run/%n.pid", "/run/w1.pid"),
        ("%p.log", "w1@a.example.com.log"),
        ("%h-%d%I%i.log", "a.example.com-example.com0.log"),
        ("100%%.log", "100%.log"),
    ],
)
def test_paths_carry_the_name_of_the_node(path, expanded):
    assert expand_path(path, "w1@a.example.com") == expanded


def test_an_unknown_sequence_in_a_path_is_told():
    with pytest.raises(ConfigError, match="'%x' is unknown"):
        expand_path("%x.log", "w1@h")


def test_an_unknown_user_or_group_is_told():
    with pytest.raises(ConfigError, match="no user 'nobody-knows'"):
        become("nobody-knows", None)
    with pytest.raises(ConfigError, match="no group 'nobody-knows'"):
        become(None, "nobody-knows")


def test_who_one_is_already_one_may_become():
    become(str(os.getuid()), str(os.getgid()))


BECOME = """
import os, sys
from amqtask.cli.daemon import become
become(sys.argv[1], None)
print(os.getuid(), os.geteuid(), os.getgid(), 0 in os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_root_becomes_another_user_with_its_groups_for_good():
    nobody = pwd.getpwnam("nobody")
    ended = subprocess.run(
        [sys.executable, "-c", BECOME, "nobody"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == f"{nobody.pw_uid} {nobody.pw_uid} {nobody.pw_gid} False\nfor good\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_successor_takes_the_pidfile_when_it_is_ready_and_tells_the_process_before_it(folder, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as before:
        (folder / "w.pid").write_text(f"{before.pid}\n")
        reader, writer = os.pipe()
        monkeypatch.setenv(PREDECESSOR, str(before.pid))
        monkeypatch.setenv(READY, str(writer))
        with Program(Setup(), ProcessOptions(pidfile="w.pid"), "w@h") as program:
            assert program.launch.predecessor == before.pid
            assert {PREDECESSOR, READY}.isdisjoint(os.environ)
            assert (folder / "w.pid").read_text() == f"{before.pid}\n"
            program.ready()
            assert (folder / "w.pid").read_text() == f"{os.getpid()}\n"
            program.ready()  # after a reconnect
        assert os.read(reader, 100) == b"ready\n"
        assert os.read(reader, 100) == b""
        os.close(reader)
        assert not (folder / "w.pid").exists()


def test_it_is_started_again_where_the_shell_was_even_through_a_link(folder, monkeypatch):
    (folder / "release").mkdir()
    (folder / "current").symlink_to("release")
    monkeypatch.chdir(folder / "current")
    monkeypatch.setenv("PWD", str(folder / "current"))
    with Program(Setup(), ProcessOptions(), "w@h") as program:
        assert program.launch.folder == str(folder / "current")
        assert program.launch.command[0] == sys.executable
    monkeypatch.setenv("PWD", "/elsewhere")
    with Program(Setup(), ProcessOptions(), "w@h") as program:
        assert program.launch.folder == str((folder / "release").resolve())


def test_a_log_that_cannot_be_written_is_told(folder):
    with pytest.raises(CannotCreate, match=r"log file missing/w\.log: No such file"):
        Program(Setup(), ProcessOptions(logfile="missing/%n.log"), "w@h").__enter__()


ADOPTS = """
import ctypes, os, sys
from amqtask.cli.daemon import Program
from amqtask.cli.process_options import ProcessOptions
from amqtask.cli.setup import Setup
program = Program(Setup(), ProcessOptions(), "w@h")
program.replaced(os.getpid())
found = ctypes.c_int()
ctypes.CDLL(None).prctl(37, ctypes.byref(found), 0, 0, 0)
print(found.value)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are adopted on Linux only")
def test_who_will_stand_in_has_the_successor_s_successors_from_the_start():
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    ended = subprocess.run(
        [sys.executable, "-c", ADOPTS], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert ended.stdout == "1\n"
