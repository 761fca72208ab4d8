"""Signals that arrive just before the main thread falls asleep are handled all the same."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, sys, threading
from amqtask.broker.loop import SelectLoop
from amqtask.worker.process.wakeup import SignalWakeup

loop, release = SelectLoop(), threading.Event()
signal.signal(signal.SIGTERM, lambda *_: release.set())
wakeup = SignalWakeup(loop)
if sys.argv[1] == "installed":
    wakeup.install()

# A signal that another thread takes is what a signal a moment too early is: flagged, and nobody is woken.
def take_it_here():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

loop.call_later(0.2, take_it_here)
io = threading.Thread(target=loop.run)
io.start()
print("in time" if release.wait(float(sys.argv[2])) else "too late")
loop.call_soon_threadsafe(loop.stop)
io.join()
if sys.argv[1] == "installed":
    wakeup.remove()
assert signal.set_wakeup_fd(-1) == -1
"""


def run(*words: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_sleeping_main_thread_runs_the_handler_of_a_signal_that_did_not_wake_it():
    assert run("installed", "20") == "in time"


def test_without_the_wakeup_it_sleeps_on():
    assert run("alone", "1") == "too late"
