"""Time limits kept by a worker with children: what becomes of the task, of the others, of its message and result."""

from __future__ import annotations

import re

import psutil
import pytest
from waiting import wait_for

from amqtask import Amqtask
from amqtask.errors import TimeLimitExceeded

pytestmark = pytest.mark.rabbitmq


def shown(process):
    """What ``ps`` shows for it."""
    return " ".join(process.cmdline()).strip()


def test_task_over_its_hard_limit_is_a_dead_letter_and_runs_once(site):
    worker = site.worker("-c", "2", "--time-limit", "0.5")
    site.send("hold", "stuck")
    notes = [f"note{number}" for number in range(50)]
    for label in notes:
        site.send("note", label)
    site.wait_done(*notes)
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.message) == ("time_limit", "ran longer than its time limit of 0.5 s")
    assert worker.stop() == 0
    assert site.labels("start") == {"stuck": 1}
    assert set(site.labels("done").values()) == {1}
    assert site.ready("work") == 0
    assert worker.count(r"is killed: its task ran over the time limit") == 1
    assert "Traceback" not in worker.text()


def test_limits_of_a_call_count_whatever_those_of_the_worker_are(site):
    site.worker("-c", "2", "--time-limit", "60", "--soft-time-limit", "50")
    site.send("hold", "hard", time_limit=0.3)
    site.send("pause", "soft", 30, soft_time_limit=0.3)
    dead = sorted((dead.reason, dead.message) for dead in site.wait_dead(2))
    assert dead == [
        ("failed", "the soft time limit has passed"),
        ("time_limit", "ran longer than its time limit of 0.3 s"),
    ]


def test_caller_is_told_of_the_hard_limit(site):
    site.worker("-c", "1", "--time-limit", "0.4", result_backend="rpc://")
    app = Amqtask("caller", broker=site.url, backend="rpc://", routing=site.folder / "routing.yaml")
    try:
        with pytest.raises(TimeLimitExceeded, match=r"0\.4 s"):
            app.send_task("hold", ("stuck",), queue="work").get(timeout=60)
    finally:
        app.close()


def test_children_tell_ps_what_they_run(site):
    pytest.importorskip("setproctitle")
    worker = site.worker("-c", "1", "-n", "w1@here")
    (child,) = [one for one in worker.family() if one.children() == [] and one.parent() != psutil.Process(worker.pid)]
    wait_for(lambda: shown(child) == "[amqtask:w1@here] idle")
    site.send("hold", "busy")
    site.wait_event("start", "busy")
    assert re.fullmatch(r"\[amqtask:w1@here\] hold since \d\d:\d\d:\d\d", shown(child))
    site.open_gate()
    wait_for(lambda: shown(child) == "[amqtask:w1@here] idle")


def test_killed_worker_leaves_no_child(site):
    worker = site.worker("-c", "3")
    site.send("hold", "busy")
    site.wait_event("start", "busy")
    worker.kill()
    assert not worker.survivors()


def test_shutdown_waits_for_a_task_until_its_hard_limit(site):
    worker = site.worker("-c", "1", "--time-limit", "1", "--shutdown-timeout", "600")
    site.send("hold", "stuck")
    site.wait_event("start", "stuck")
    assert worker.stop() == 0
    assert [dead.reason for dead in site.wait_dead(1)] == ["time_limit"]
