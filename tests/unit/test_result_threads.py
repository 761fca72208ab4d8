"""Threads that ask a store for those who have only so long: what a silent store does to a program."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest
from waiting import wait_for

from amqtask.results.backends._threads import DaemonThreads

PROGRAM = """
import asyncio, sys, threading
from amqtask.config.settings import Settings
from amqtask.errors import ResultTimeout
from amqtask.results.access import ResultAccess
from amqtask.results.backends._polled import PolledBackend
from amqtask.results.future import AsyncResult

class Silent(PolledBackend):
    def fetch(self, task_ids): threading.Event().wait()
    def store(self, records): ...
    def close(self): ...

settings = Settings(result_backend="silent://")
handle = AsyncResult("a", results=ResultAccess(settings, lambda url, settings: Silent(url, settings)))
try:
    handle.get(timeout=0.01) if sys.argv[1] == "thread" else asyncio.run(handle.aget(timeout=0.01))
except ResultTimeout:
    print("timeout")
"""


@pytest.mark.parametrize("asking", ["thread", "coroutine"])
def test_a_program_that_has_given_up_on_a_silent_store_ends_at_once(asking):
    program = [sys.executable, "-c", PROGRAM, asking]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "timeout\n", "")


@pytest.fixture
def held():
    held = threading.Event()
    yield held
    held.set()


def named(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_there_are_as_many_threads_as_calls_up_to_the_bound_and_those_that_wait_can_be_cancelled(held):
    threads = DaemonThreads(2, "bounded")
    calls = [threads.submit(held.wait, 10) for _ in range(5)]
    assert len(named("bounded")) == 2
    assert calls[4].cancel()
    held.set()
    assert [call.result(60) for call in calls[:4]] == [True] * 4
    assert threads.submit(int, "7").result(60) == 7
    assert len(named("bounded")) == 2
    threads.shutdown()


def test_calls_one_after_the_other_share_a_thread():
    threads = DaemonThreads(4, "one")
    assert [threads.submit(pow, 2, exponent).result(60) for exponent in range(200)] == [2**n for n in range(200)]
    assert len(named("one")) == 1
    threads.shutdown()


def test_an_idle_thread_is_free_for_the_next_call_while_others_are_held(held):
    threads = DaemonThreads(3, "idle")
    for _ in range(2):
        threads.submit(held.wait, 10)
        assert threads.submit(time.monotonic).result(60)
    threads.shutdown()


def test_errors_reach_who_asked_and_the_thread_goes_on():
    threads = DaemonThreads(1, "errors")
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(60)
    assert threads.submit(int, "7").result(60) == 7
    threads.shutdown()


@pytest.mark.parametrize("how", ["shut down", "forgotten"])
def test_threads_end_when_all_is_done(held, how):
    threads = DaemonThreads(2, how)
    calls = [threads.submit(held.wait, 10) for _ in range(3)]
    if how == "shut down":
        threads.shutdown()
        with pytest.raises(RuntimeError, match="shut down"):
            threads.submit(int)
    gone = weakref.ref(threads)
    del threads
    gc.collect()
    assert gone() is None
    held.set()
    assert [call.result(60) for call in calls] == [True] * 3
    assert wait_for(lambda: not named(how))
