"""The scheduler of ``worker -B`` when it hangs or fails: the watchdog and /livez see it, and nobody waits for it."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from beats import beating, leads, new_app
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
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["status"]


def test_a_worker_whose_scheduler_hangs_is_not_live_and_ends_to_be_started_again(site):
    (site.folder / "hangs.py").write_text(HANGS)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    worker = site.start(
        "worker", "-A", "hangs", "-P", "threads", "-n", "w@here", "-B", "--health", f"127.0.0.1:{port}",
        worker_watchdog_timeout=0.3, ready=False,
    )  # fmt: skip
    worker.wait_for_log("w@here ready")
    wait_for(lambda: livez(port)[0] == 503)
    assert "the scheduler (-B): " in livez(port)[1]
    assert worker.wait() == 75
    text = worker.text()
    assert "Watchdog: the scheduler (-B): " in text
    assert "in next" in text  # the stacks say where it hangs


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
        thread.join(5)
        assert failed
    begun = time.monotonic()
    with beating(second) as third:
        wait_for(lambda: leads(third))
    assert time.monotonic() - begun < 5  # a connection that nobody serves would keep the lead for 20 s
    first.close()
    second.close()
