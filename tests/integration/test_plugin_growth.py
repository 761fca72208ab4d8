"""Three thousand tests in one process: what the plugin makes for each is gone after it."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest
from plugin_app import app, runs, send

from amqtask.testing.clock import TestClock
from amqtask.testing.dead import Dead
from amqtask.testing.dev_vhosts import DevServer
from amqtask.testing.drain import Drain
from amqtask.testing.published import Published
from amqtask.testing.workers import Workers

TESTS = 800
WARM = 200
WITH_WORKER = 10
"""One test in so many runs a worker; the others send, or only have a vhost."""

GROWTH_MAX = 1024
"""KiB; CPython's own noise is a few hundred."""


@pytest.fixture
def server():
    made = DevServer()
    yield made
    made.close()


def one_test(server: DevServer, number: int) -> None:
    vhost = server.add_vhost()
    if not number % 3:
        clock = TestClock(vhost)
        clock.install()
        with app.rebound(broker_url=vhost.url):
            workers = Workers(app, vhost, None, {})
            send.delay(number)
            Published(app, vhost)(task=send)
            if not number % WITH_WORKER:
                assert Drain(app, vhost, workers)().succeeded == 1
                assert Dead(app)("emails") == []
            workers.close()
        clock.restore()
    vhost.delete()
    runs.clear()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to look at memory and descriptors")
def test_hundreds_of_vhosts_leave_nothing_behind(server):
    seen = {}
    for number in range(TESTS):
        one_test(server, number)
        if number + 1 in (WARM, TESTS):
            gc.collect()
            seen[number + 1] = (resident(), threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))
    (memory, *rest), (memory_before, *rest_before) = seen[TESTS], seen[WARM]
    assert all(now <= before for now, before in zip(rest, rest_before, strict=True)), seen
    assert memory - memory_before < GROWTH_MAX, seen
    assert server.broker.vhosts() == []
    assert server.broker.memory()["used"] == 0
