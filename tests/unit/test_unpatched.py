"""What gevent replaces can still be had, and threads that wait with it leave nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from amqtask.unpatched import Bell

pytest.importorskip("gevent")


def run(program: str, *arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.strip()


def test_a_bell_ends_one_wait_however_often_it_was_rung():
    bell = Bell()
    assert not bell.wait(0)
    bell.ring()
    bell.ring()
    assert bell.wait()
    assert not bell.wait(-1)


ORIGINALS = """
from amqtask.worker.pools._gevent_patch import patch
patch()
import logging, signal
from amqtask import unpatched
from amqtask.broker.loop import SelectLoop
from amqtask.worker.process.wakeup import SignalWakeup

assert "gevent" not in type(unpatched.new_lock()).__module__
assert "gevent" not in type(unpatched.new_selector()).__module__
assert "gevent" in type(SelectLoop()._selector).__module__
assert "gevent" not in type(SelectLoop(real=True)._selector).__module__
assert type(logging.StreamHandler().lock) is type(unpatched.original("_thread", "RLock")())
heard = []
wakeup = SignalWakeup(SelectLoop(real=True))
wakeup.install()
signal.signal(signal.SIGURG, lambda *_: heard.append(1))
wakeup._nudge()
wakeup.remove()
print(heard)
"""


def test_the_workers_own_threads_have_the_means_of_the_system_where_gevent_has_patched_everything():
    assert run(ORIGINALS) == "[1]"


HUBS = """
from gevent import monkey; monkey.patch_all()
import gc, threading, time
from gevent._hub_local import get_hub_if_exists
from amqtask.worker.pools._gevent_threads import RealThread
hubs = []

def wait():
    threading.Event().wait(0.001)  # gevent's, so it makes a hub
    hubs.append(get_hub_if_exists())

for _ in range(20):
    thread = RealThread(wait)
    thread.start()
    thread.join()
print(len(hubs), {hub.loop for hub in hubs})
"""


def test_a_hub_ends_with_the_thread_that_has_made_it():
    assert run(HUBS) == "20 {None}"


CLOSED = """
from amqtask.worker.pools._gevent_patch import patch
patch()
import os, pathlib, sys
from gevent import get_hub
from amqtask import unpatched
from amqtask.cli.pidfile import Pidfile

path, told, bell = pathlib.Path(sys.argv[1]), [], unpatched.Bell()

def io():
    hub = get_hub()  # as sockets have one
    before = set(os.listdir("/proc/self/fd"))
    Pidfile(path / "w.pid").write()
    told.append((len(set(os.listdir("/proc/self/fd")) - before), bool(hub)))
    bell.ring()

unpatched.start_thread(io)
bell.wait(60)
print(told)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_the_io_thread_of_a_gevent_worker_closes_is_closed(tmp_path):
    assert run(CLOSED, str(tmp_path)) == "[(1, False)]", "the pidfile itself stays open"
