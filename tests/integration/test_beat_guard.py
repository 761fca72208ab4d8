"""The scheduler of ``worker -B`` when it hangs or fails: the watchdog and /livez see it, and nobody waits for it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest
from beats import beating, leads, new_app
from private_broker.processes import free_ports
from waiting import wait_for

from amqtask.beat.service import start_beat

pytestmark = pytest.mark.rabbitmq

HANGS = """
import threading

from amqtask import Amqtask
from amqtask.beat import pulse
from amqtask.schedules.interval import schedule

pulse.FROZEN = 0.2
app = Amqtask("shop", routing="routing.yaml")
looks = []


class Hangs(schedule):
    def next(self, after):
        if threading.current_thread().name == "amqtask-beat":
            looks.append(after)
            if len(looks) > 5:  # it has led for a while
                threading.Event().wait()
        return super().next(after)


@app.task(name="note")
def note():
    pass


app.add_periodic_task(Hangs(0.1), note.s(), name="hangs")
"""


def livez(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["status"]


def test_a_worker_whose_scheduler_hangs_is_not_live_and_ends_to_be_started_again(site):
    (site.folder / "hangs.py").write_text(HANGS)
    (port,) = free_ports(1)
    worker = site.start(
        "worker", "-A", "hangs", "-P", "threads", "-n", "w@here", "-B", "--health", f"127.0.0.1:{port}",
        worker_watchdog_timeout=2, ready=False,
    )  # fmt: skip
    worker.wait_for_log("w@here ready")
    told = wait_for(lambda: (answer := livez(port))[0] == 503 and answer[1])
    assert "the scheduler (-B): " in told
    assert worker.wait() == 75
    text = worker.text()
    assert "Watchdog: the scheduler (-B): " in text
    assert "in next" in text  # the stacks say where it hangs


FAILS = """
from amqtask import Amqtask
from amqtask.beat.service import Beat

app = Amqtask("shop", routing="routing.yaml")


@app.task(name="note")
def note():
    pass


def fail(self):
    raise ZeroDivisionError("for good")


Beat.run = fail
"""


def test_a_worker_whose_scheduler_fails_each_time_ends_to_be_started_again(site):
    (site.folder / "fails.py").write_text(FAILS)
    words = ("worker", "-A", "fails", "-P", "threads", "-n", "w@here", "-B")
    worker = site.start(*words, worker_watchdog_timeout=1, ready=False)
    assert worker.wait() == 75
    text = worker.text()
    assert "The scheduler has failed; it begins again in 10 s" in text
    assert "Watchdog: the scheduler (-B): it has failed: ZeroDivisionError('for good'); ending with 75" in text


def test_a_scheduler_that_fails_leaves_the_lead_at_once(vhost_url, monkeypatch):
    schedule = {"tick": {"task": "tick", "schedule": 60}}
    first, second = new_app(vhost_url, schedule), new_app(vhost_url, schedule)

    def fail() -> float:
        raise ZeroDivisionError

    failing = start_beat(first)
    monkeypatch.setattr(failing.leader, "clock_set", fail)
    with beating(second) as other:
        wait_for(lambda: leads(other))
        failed = []

        def run() -> None:
            with pytest.raises(ZeroDivisionError) as caught:
                failing.run()
            failed.append(caught)  # and with it all that it had

        thread = threading.Thread(target=run)
        thread.start()
        wait_for(lambda: failing.pulse.connected)
        other.stop()
        wait_for(lambda: leads(failing))
        failing.call_soon(failing.leader.clock_set)
        thread.join(60)
        assert failed
    with beating(second) as third:
        wait_for(lambda: leads(third), timeout=15)  # a connection that nobody serves would keep the lead for 20 s
    first.close()
    second.close()
