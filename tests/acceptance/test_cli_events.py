"""`amqtask events`, `amqtask top` and `amqtask graph`: what workers tell, and what they are made of."""

from __future__ import annotations

import json

import pytest

from amqtask import Amqtask, Queue
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

CAMERA = """\
from amqtask.events.snapshot import Polaroid


class Counting(Polaroid):
    def on_shutter(self, state):
        print("workers", sorted(state.workers))
"""

STEPS = """\
from amqtask import Amqtask
from amqtask.worker.steps.base import Step
from amqtask.worker.steps.events import EventsStep

app = Amqtask("stepped")


@app.task
def noop(): ...


@app.steps["worker"].add
class Mine(Step):
    requires = (EventsStep,)
"""


@pytest.fixture
def worker(vhost_url):
    app = Amqtask("shop", broker=vhost_url, task_queues=[Queue("work", type="classic")])
    app.task(name="noop", queue="work")(lambda: None)
    options = resolve(Requested(pool="solo", hostname="w1@here"), app.topology, app.settings)
    with EmbeddedWorker(app, options) as running:
        yield running
    app.close()


@pytest.mark.rabbitmq
def test_events_are_printed_as_they_come(shell, worker):
    text = shell.run("events", "--dump", "--limit", "1").stdout
    assert " w1@here worker-heartbeat freq=2.0 active=0 processed=0 " in text
    event = json.loads(shell.run("events", "--json", "--limit", "1").stdout)
    assert (event["type"], event["hostname"], event["sw_ident"]) == ("worker-heartbeat", "w1@here", "amqtask")


@pytest.mark.rabbitmq
def test_a_camera_of_the_users_takes_pictures(shell, worker):
    (shell.folder / "cameras.py").write_text(CAMERA)
    done = shell.run("events", "--camera", "cameras:Counting", "--freq", "60", "--limit", "1")
    assert done.stdout == "workers ['w1@here']\n"


def test_what_is_no_camera_is_refused(shell):
    assert (
        "not a subclass of amqtask.events.snapshot.Polaroid" in shell.run("events", "-c", "json:dumps", code=78).stderr
    )


def test_events_without_a_broker_end_soon(shell):
    assert "127.0.0.1" in shell.run("-b", "amqp://127.0.0.1:1/", "events", code=69).stderr


def test_top_needs_a_terminal(shell):
    assert "'amqtask events' prints lines" in shell.run("top", code=64).stderr


def test_the_steps_of_a_worker_are_drawn_with_those_of_the_app(shell):
    (shell.folder / "stepped.py").write_text(STEPS)
    text = shell.run("-A", "stepped", "graph", "steps").stdout
    assert '"Mine" -> "EventsStep";' in text
    assert "ControlStep" in text
