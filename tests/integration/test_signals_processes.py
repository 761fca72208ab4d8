"""Signals of workers with processes: which process sends which."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
from worker_process import Site

pytestmark = pytest.mark.rabbitmq

TOLD = """\
import os
import time

import crew
from amqtask import signals

app = crew.app


def tell(sender, signal, **named):
    if signal.name == "worker_process_shutdown":
        time.sleep(0.5)  # the worker waits for that, or it would be cut off
    print(f"SIGNAL {signal.name} {os.getpid()} {named.get('how', '')}", flush=True)


for one in list(vars(signals).values()):
    if isinstance(one, signals.Signal) and one.name not in ("setup_logging", "heartbeat_sent"):
        one.connect(tell, weak=False)
"""


def test_each_process_tells_what_happens_in_it(site: Site) -> None:
    (site.folder / "told.py").write_text(TOLD)
    worker = site.start("-A", "told", "worker", "-P", "prefork", "-c", "2", "-Q", "work")
    site.send("note", "a")
    worker.wait_for_log(r"SIGNAL task_postrun")
    assert worker.stop() == 0
    told: dict[str, list[int]] = defaultdict(list)
    for name, pid in re.findall(r"SIGNAL (\w+) (\d+)", worker.text()):
        told[name].append(int(pid))
    once = ("import_modules", "after_setup_logger", "worker_init", "worker_ready", "worker_shutdown", "task_received")
    assert {name: told[name] for name in once} == {name: [worker.pid] for name in once}
    children = set(told["worker_process_init"])
    assert len(children) == 2
    assert worker.pid not in children
    assert set(told["worker_process_shutdown"]) == children
    (server,) = set(told["worker_before_create_process"])
    assert server not in {worker.pid, *children}
    assert set(told["task_prerun"]) == set(told["task_postrun"]) == set(told["task_success"])
    assert set(told["task_prerun"]) <= children
    assert "SIGNAL worker_shutting_down" in worker.text()
    assert "Warm" in worker.text()
