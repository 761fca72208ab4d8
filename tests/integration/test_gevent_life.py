"""A gevent worker: results, scheduler, restart and end. No thread touches what belongs to the hub of another one."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from stores import redis_server
from waiting import wait_for

from amqtask import Amqtask

pytestmark = pytest.mark.rabbitmq

SHOP = """
import time

from gevent._hub_local import get_hub_if_exists

from amqtask import Amqtask
from amqtask.worker.steps.base import Step

app = Amqtask("shop", routing="routing.yaml")
hubs = []


class Witness(Step):
    def start(self):
        self._look()

    def _look(self):
        hubs.append(bool(get_hub_if_exists()))  # a hub that was never switched to is false
        self.worker.loop.call_later(0.05, self._look)


app.steps["worker"].add(Witness)


@app.task(name="add")
def add(left, right):
    time.sleep(0.02)
    return left + right


@app.task(name="inner")
def inner(number):
    return add.delay(number, 1).get(timeout=60, disable_sync_subtasks=False)


@app.task(name="io_hub")
def io_hub():
    return hubs and any(hubs)
"""


@pytest.fixture(params=["rpc", "redis"])
def backend(request):
    if request.param == "rpc":
        yield "rpc://"
    else:
        with redis_server() as server:
            yield server.url


@pytest.fixture
def green(site, backend):
    """A worker with results, and its sender."""
    (site.folder / "shop.py").write_text(SHOP)
    worker = site.worker(
        "-P", "gevent", "-c", "50", "-n", "green@here", "-A", "shop", "--pidfile", "w.pid", result_backend=backend
    )
    app = Amqtask("sender", broker=site.url, routing=site.folder / "routing.yaml", result_backend=backend)
    yield worker, app
    app.close()


def test_results_come_while_tasks_wait_for_those_of_others(green):
    worker, app = green
    rpc = app.settings.result_backend == "rpc://"
    sums = [app.send_task("add", (number, 1)) for number in range(200)]
    assert [one.get(timeout=60) for one in sums] == [number + 1 for number in range(200)]
    if not rpc:  # with rpc, answers go to those who are no tasks
        waiting = [app.send_task("inner", (number,)) for number in range(20)]
        assert [one.get(timeout=60) for one in waiting] == [number + 1 for number in range(20)]
    assert app.send_task("io_hub").get(timeout=60) is False, "a hub has run in the I/O thread"
    assert worker.stop() == 0
    assert "Traceback" not in worker.text()


def test_restart_and_end_lose_nothing_and_nothing_crashes(site, green):
    worker, app = green
    pidfile = site.folder / "w.pid"
    pids = [worker.pid]
    results = []
    for _ in range(2):
        results += [app.send_task("add", (number, 1)) for number in range(50)]
        os.kill(pids[-1], signal.SIGHUP)
        pids.append(wait_for(lambda: (found := int(pidfile.read_text() or 0)) not in (0, *pids) and found, 30))
        worker.wait_for_log("green@here stopped", len(pids) - 1)
    assert [one.get(timeout=60) for one in results] == [*range(1, 51)] * 2
    assert worker.stop() == 0
    assert worker.count("green@here stopped") == 3
    assert "Traceback" not in worker.text()
    assert not pidfile.exists()
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))


BEAT = """
import os

from amqtask import Amqtask

app = Amqtask("shop", routing="routing.yaml", beat_schedule={"often": {"task": "tick", "schedule": 0.1}})


@app.task(name="tick")
def tick():
    with open("ticks", "a") as file:
        file.write("x")
"""


def test_the_scheduler_runs_inside_a_gevent_worker(site):
    (site.folder / "shop.py").write_text(BEAT)
    worker = site.worker("-P", "gevent", "-n", "green@here", "-A", "shop", "-B", "--health", "127.0.0.1:0")
    wait_for(lambda: (site.folder / "ticks").exists() and (site.folder / "ticks").stat().st_size >= 5)
    assert worker.stop() == 0
    assert "Traceback" not in worker.text()
