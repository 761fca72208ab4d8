"""A worker whose tasks are greenlets: they wait at the same time, and the I/O thread is none of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq


def test_greenlets_wait_at_the_same_time_and_all_kinds_of_tasks_run(site, broker_node):
    worker = site.worker("-P", "gevent", "-n", "green@here", "-c", "60")
    labels = [f"held{number}" for number in range(50)]
    for label in labels:
        site.send("hold", label)
    site.wait_event("start", *labels)
    for name in ("note", "anote", "sends", "asends"):
        site.send(name, name)
    site.wait_done("note", "anote", "sends", "asends", "sends.inner", "asends.inner")
    wait_for(lambda: broker_node.connections("green@here") == 2, timeout=60)  # each look starts a program
    site.open_gate()
    site.wait_done(*labels)
    assert worker.stop() == 0
    assert "Traceback" not in worker.text()
    assert "gevent has not patched" not in worker.text()
    assert all(count == 1 for count in site.labels("done").values())


def test_a_task_that_computes_is_handed_back_at_the_end(site):
    worker = site.worker("-P", "gevent", worker_shutdown_timeout=0.5)
    site.send("compute", "computes")
    site.wait_event("start", "computes")
    assert worker.stop() == 0
    site.wait_ready("work", 1)


PRODUCER = """
from gevent import monkey; monkey.patch_all()
import gevent
from amqtask import Amqtask

app = Amqtask("web", routing="routing.yaml")
sending, beside = [], []

def tick():
    while True:
        beside.append(len(sending))
        gevent.sleep(0)

def request(number):
    for part in range(5):
        sending.append(number)
        app.send_task("note", (f"{number}.{part}",), queue="work")
        sending.pop()
    return True

gevent.spawn(tick)
requests = [gevent.spawn(request, number) for number in range(60)]
gevent.joinall(requests, timeout=60)
app.close()
print(all(one.value for one in requests), max(beside) > 1)
"""


def test_greenlets_of_a_web_server_send_through_one_connection_without_holding_up_each_other(site):
    (site.folder / "web.py").write_text(PRODUCER)
    run = subprocess.run(
        [sys.executable, "web.py"],
        cwd=site.folder,
        env={**os.environ, "AMQTASK_BROKER_URL": site.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == ("True True\n", "")
    site.wait_ready("work", 300)
