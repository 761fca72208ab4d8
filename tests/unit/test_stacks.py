"""Stacks on request, and what systemd is told."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from amqtask.worker.process.notify import notify, watchdog_interval
from amqtask.worker.process.stacks import stacks


def test_every_thread_is_told_with_its_name_and_what_it_does():
    release = threading.Event()

    def waits_in_here() -> None:
        release.wait()

    thread = threading.Thread(target=waits_in_here, name="some-thread")
    thread.start()
    try:
        text = stacks()
    finally:
        release.set()
        thread.join()
    assert "--- thread MainThread" in text
    assert "--- thread some-thread" in text
    assert "in waits_in_here" in text


def test_asyncio_tasks_that_wait_are_told_from_any_thread():
    async def awaits_in_here(waiting: asyncio.Event) -> None:
        await waiting.wait()

    async def main() -> str:
        waiting = asyncio.Event()
        task = asyncio.create_task(awaits_in_here(waiting), name="some-task")
        await asyncio.sleep(0)
        text = await asyncio.to_thread(stacks)
        waiting.set()
        await task
        return text

    text = asyncio.run(main())
    assert "--- asyncio task some-task" in text
    assert "in awaits_in_here" in text


def test_greenlets_that_wait_are_told():
    greenlet = pytest.importorskip("greenlet")
    main = greenlet.getcurrent()

    def switches_in_here() -> None:
        main.switch()

    other = greenlet.greenlet(switches_in_here)
    other.switch()
    assert "in switches_in_here" in stacks()
    other.switch()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_what_it_is_told(tmp_path, monkeypatch, abstract):
    name = f"\0amqtask-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(60)
        assert notify("READY=1\nSTATUS=fine")
        assert systemd.recv(100) == b"READY=1\nSTATUS=fine"
    assert notify("STATUS=nobody listens any more")


def test_without_systemd_nobody_is_told(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [("30000000", None, 30.0), ("500000", "self", 0.5), ("30000000", "1", None), ("", None, None), ("x", None, None)],
)
def test_the_watchdog_interval_is_for_this_process_only(monkeypatch, microseconds, pid, interval):
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid or "")
    assert watchdog_interval() == interval


def test_lazy_objects_are_not_asked_what_they_are():
    class Lazy:
        @property
        def __class__(self):
            raise RuntimeError("this would do its work")

    lazy = Lazy()
    assert "--- thread MainThread" in stacks()
    del lazy
