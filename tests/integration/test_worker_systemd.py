"""A worker under systemd, with a socket in its place: readiness, watchdog, reload with another main process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import psutil
import pytest
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq


class Systemd:
    """What systemd hears."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        """Every line so far, in order."""
        while True:
            try:
                self._heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self._heard

    def wait(self, start: str, times: int = 1) -> str:
        wait_for(lambda: sum(line.startswith(start) for line in self.heard) >= times)
        return [line for line in self.heard if line.startswith(start)][times - 1]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd():
    folder = Path(tempfile.mkdtemp(prefix="amqtask-"))  # a socket's path must be short
    made = Systemd(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


def test_systemd_hears_of_every_step_of_a_workers_life(site, systemd):
    worker = site.start(
        "worker", "-P", "threads", "-n", "w@here", ready=False, NOTIFY_SOCKET=systemd.path, WATCHDOG_USEC=400_000
    )
    systemd.wait("READY=1")
    systemd.wait("STATUS=Consuming work")
    systemd.wait("WATCHDOG=1", 3)
    worker.family()
    worker.send_signal(signal.SIGHUP)
    successor = int(systemd.wait("MAINPID=").removeprefix("MAINPID="))
    try:
        assert worker.wait() == 0  # nobody has to stand in: systemd knows
        systemd.wait("READY=1", 2)
        pings = systemd.heard.count("WATCHDOG=1")
        systemd.wait("WATCHDOG=1", pings + 2)
        site.send("note", "after")
        wait_for(lambda: site.events("done", "after"))
        stops = systemd.heard.count("STOPPING=1")
        os.kill(successor, signal.SIGTERM)
        systemd.wait("STOPPING=1", stops + 1)
        gone = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        wait_for(lambda: not psutil.pid_exists(successor) or psutil.Process(successor).status() in gone)
    finally:
        if psutil.pid_exists(successor):
            os.kill(successor, signal.SIGKILL)


def test_a_broker_that_is_away_does_not_keep_systemd_waiting(site, systemd):
    worker = site.start(
        "worker", "-P", "threads", "-n", "w@here", ready=False,
        url="amqp://guest:guest@127.0.0.1:1/", NOTIFY_SOCKET=systemd.path,
    )  # fmt: skip
    systemd.wait("READY=1")
    assert systemd.heard[:2] == ["STATUS=Starting", "READY=1"]
    assert not any(line.startswith("STATUS=Consuming") for line in systemd.heard)
    assert worker.stop() == 0
    systemd.wait("STOPPING=1")
