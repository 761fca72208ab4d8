"""Events of workers, as receivers see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from waiting import wait_for
from watching import Watch

from amqtask import Amqtask, Queue, Reject
from amqtask.broker.admin import Admin
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

DATA = Path(__file__).parents[1] / "data/celery_wire"


def make_app(url, **settings):
    return Amqtask("watched", broker=url, task_queues=[Queue("work", type="classic")], **settings)


def worker_of(app, name="w1@here", **asked):
    return EmbeddedWorker(app, resolve(Requested(pool="threads", hostname=name, **asked), app.topology, app.settings))


@pytest.fixture
def app(vhost_url):
    app = make_app(vhost_url, worker_send_task_events=True)
    yield app
    app.close()


def test_the_life_of_a_task_is_told_in_celerys_words(app):
    @app.task(name="add", queue="work")
    def add(x, y):
        return x + y

    state = app.events.State()
    with Watch(app, state=state) as watch, worker_of(app):
        result = add.delay(2, y=3)
        watch.wait("task-succeeded")
    kinds = [event["type"] for event in watch.events]
    assert kinds.index("task-received") < kinds.index("task-started") < kinds.index("task-succeeded")
    assert kinds[-1] == "worker-offline"
    assert "worker-online" in kinds
    clocks = [event["clock"] for event in watch.events]
    assert clocks == sorted(clocks)
    (task,) = [task for _, task in state.tasks_by_time()]
    assert (task.uuid, task.name, task.args, task.kwargs, task.result) == (result.id, "add", "(2,)", "{'y': 3}", "5")
    assert task.state == "SUCCESS"
    assert task.worker.hostname == "w1@here"
    assert task.runtime >= 0
    assert task.info()["args"] == "(2,)"


def test_every_end_has_its_event(app):
    @app.task(name="fail", queue="work")
    def fail():
        raise ValueError("no")

    @app.task(name="again", bind=True, queue="work", max_retries=1, default_retry_delay=0.01)
    def again(self):
        raise self.retry(exc=KeyError("x"))

    @app.task(name="reject", queue="work")
    def reject():
        raise Reject("not for me")

    with Watch(app) as watch, worker_of(app):
        ids = {task.name: task.delay().id for task in (fail, again, reject)}
        ids["late"] = fail.apply_async(countdown=0.2, expires=0.1).id  # the message itself never expires then
        watch.wait("task-failed", 2)
        watch.wait("task-rejected")
        watch.wait("task-revoked")
        watch.wait("task-dead", 2)
        watch.wait("worker-heartbeat")
    failed = {event["uuid"]: event for event in watch.of("task-failed")}
    assert failed[ids["fail"]]["exception"] == "ValueError('no')"
    assert "raise ValueError" in failed[ids["fail"]]["traceback"]
    assert watch.of("task-retried")[0]["uuid"] == ids["again"]
    assert watch.of("task-rejected")[0] | {"uuid": ids["reject"], "requeue": False} == watch.of("task-rejected")[0]
    assert watch.of("task-revoked")[0] | {"uuid": ids["late"], "expired": True} == watch.of("task-revoked")[0]
    assert {event["uuid"] for event in watch.of("task-dead")} == {ids["fail"], ids["again"]}
    for event in watch.events:
        assert_as_celerys(event)


def assert_as_celerys(event):
    """It has every field that Celery's event of this type always has, and of a type that Celery's has had."""
    recorded = json.loads((DATA / "events.json").read_text())["fields"]
    for name, types in recorded.get(event["type"], {}).items():
        assert type(event[name]).__name__ in types, (event["type"], name, event[name])


def test_without_e_a_worker_tells_of_itself_only(vhost_url):
    app = make_app(vhost_url)

    @app.task(name="noop", queue="work")
    def noop():
        pass

    with Watch(app) as watch, worker_of(app) as worker:
        noop.delay()
        wait_for(lambda: worker.counts.ended)
    assert {event["type"] for event in watch.events} <= {"worker-online", "worker-heartbeat", "worker-offline"}
    (goodbye,) = watch.of("worker-offline")
    assert (goodbye["processed"], goodbye["active"], goodbye["sw_ident"]) == (1, 0, "amqtask")
    app.close()


def test_a_receiver_that_begins_to_listen_hears_of_a_worker_that_rests(vhost_url):
    """Nobody listens, so the worker has heartbeats half a minute apart; the request for one ends that."""
    app = make_app(vhost_url, worker_heartbeat_interval=0.2)
    app.task(name="noop", queue="work")(lambda: None)
    with worker_of(app) as worker:
        events = worker._assembly.engine.events
        wait_for(lambda: events._heart._returned)
        with Watch(app) as watch:
            watch.wait("worker-heartbeat", 4)
    app.close()


def test_task_events_can_be_turned_on_and_off_while_it_runs(vhost_url):
    app = make_app(vhost_url)
    noop = app.task(name="noop", queue="work")(lambda: None)
    with Watch(app, "task.#") as watch, worker_of(app) as worker:
        events = worker._assembly.engine.events
        noop.delay()
        wait_for(lambda: worker.counts.ended.get(0) == 1)
        assert events.enable()
        assert not events.enable()
        noop.delay()
        watch.wait("task-succeeded")
        assert events.disable()
        noop.delay()
        wait_for(lambda: worker.counts.ended.get(0) == 3)
    assert len(watch.of("task-received")) == 1
    app.close()


def test_hostile_messages_on_the_exchange_harm_no_receiver(app):
    def publish(key, body):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        admin.publish(Outgoing("celeryev", key, Properties("application/json"), text))

    with (
        Watch(app, state=app.events.State()) as watch,
        Admin(app.broker_urls, app.connection_options) as admin,
    ):
        for body in (b"\xff", b"[]", b"7", b'"x"', b"[1]", b'{"type": 5}', b'{"type": "task-received"}', b"[" * 50_000):
            publish("task.multi", body)
        publish("task.multi", [{"type": "task-x", "uuid": [], "hostname": 4, "clock": "a"}])
        publish("worker.x", {"type": "worker-x", "hostname": "a", "alive": 1, "event": 2, "timestamp": "b"})
        publish("worker.x", {"type": "worker-x", "hostname": "a"})
        watch.wait("worker-x", 2)
    assert list(watch.state.workers) == ["a"]
