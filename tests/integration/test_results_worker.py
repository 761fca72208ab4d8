"""What a worker does with results: stores them before the ack, and goes on when they can't be stored."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from kept import Kept, keep_in
from waiting import wait_for

from amqtask import Amqtask, Queue
from amqtask.broker.admin import Admin
from amqtask.errors import WorkerLost
from amqtask.execution.job import Kind
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.followups import backlog
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

POOLS = ["threads", "asyncio", "solo"]


@pytest.fixture
def make_app(vhost_url):
    apps = []

    def make(**settings):
        app = Amqtask("guest", broker=vhost_url, task_queues=[Queue("work", type="classic")], **settings)
        apps.append(app)

        @app.task(name="add", queue="work")
        def add(left, right=1):
            return left + right

        @app.task(name="fail", queue="work")
        def fail():
            raise LookupError("no luck")

        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def kept_app(make_app, monkeypatch):
    """An app whose backend is in memory, with short pauses."""
    monkeypatch.setattr(backlog, "RETRY_FIRST", 0.02)
    app = make_app(backend="file:///nowhere", unknown_task_policy="dead")
    keep_in(app, Kept())
    return app


@pytest.fixture
def admin(make_app):
    app = make_app()
    made = Admin(app.broker_urls, app.connection_options)
    yield made
    made.close()


def worker_of(app, pool="threads", **asked):
    requested = Requested(pool=pool, queues=["work"], **asked)
    return EmbeddedWorker(app, resolve(requested, app.topology, app.settings))


def ready(admin, queue="work"):
    state = admin.queue_state(queue)
    return 0 if state is None else state.ready


@pytest.mark.parametrize("pool", POOLS)
def test_caller_gets_its_result_by_message(make_app, pool):
    app = make_app(backend="rpc://")
    with worker_of(app, pool):
        assert app.tasks["add"].delay(1, 2).get(timeout=60) == 3
        with pytest.raises(LookupError, match="no luck"):
            app.tasks["fail"].delay().get(timeout=60)


def test_caller_that_is_gone_costs_the_worker_nothing(make_app, admin):
    app = make_app(backend="rpc://")
    with worker_of(app) as worker:
        for _ in range(10):
            app.send_task("add", (1,), queue="work", reply_to="amqtask.reply.gone")
        wait_for(lambda: worker.counts.ended.get(Kind.SUCCESS) == 10 and not worker.busy)
    assert ready(admin) == 0


@pytest.mark.parametrize("pool", POOLS)
def test_started_is_stored_before_the_result(make_app, pool):
    app = make_app(backend="file:///nowhere", task_track_started=True)
    kept = keep_in(app, Kept())
    with worker_of(app, pool):
        sent = [app.tasks["add"].delay(number) for number in range(20)]
        wait_for(lambda: len(kept.history) == 40)
    assert all(kept.states(one.id) == ["STARTED", "SUCCESS"] for one in sent)


def test_message_stays_unacked_while_its_result_can_not_be_stored(kept_app, caplog):
    app, kept = kept_app, kept_app.results_backend
    with worker_of(app, concurrency=2) as worker:
        kept.down = True
        sent = [app.tasks["add"].delay(number) for number in range(5)]
        wait_for(lambda: worker.counts.ended.get(Kind.SUCCESS) == 5 and kept.failures > 3)
        assert worker.busy == 5, "alive, and nothing is settled"
        kept.down = False
        wait_for(lambda: not worker.busy)
        assert {record.task_id for record in kept.history} == {one.id for one in sent}
    assert caplog.text.count("The result backend fails") == 1


def test_shutdown_returns_what_could_not_be_stored_in_time(kept_app, admin):
    app, kept = kept_app, kept_app.results_backend
    with worker_of(app, shutdown_timeout=0.2) as worker:
        kept.down = True
        sent = app.tasks["add"].delay(1)
        wait_for(lambda: kept.failures > 1)
        assert worker.busy == 1
    wait_for(lambda: ready(admin) == 1)
    kept.down = False
    with worker_of(app) as worker:
        wait_for(lambda: kept.states(sent.id) == ["SUCCESS"])
    assert ready(admin) == 0


def test_end_without_a_run_is_stored_too(kept_app, admin):
    app, kept = kept_app, kept_app.results_backend
    with worker_of(app):
        unknown = app.send_task("nobody", queue="work")
        expired = app.send_task("add", (1,), queue="work", expires=datetime.now(UTC) - timedelta(seconds=5))
        headers = {"task": "add", "id": "unreadable"}
        properties = Properties("application/json", "utf-8", headers, message_id="m")
        admin.publish(Outgoing("", "work", properties, b"{"))
        ends = {unknown.id: ["DEAD"], expired.id: ["REVOKED"], "unreadable": ["DEAD"]}
        wait_for(lambda: {task_id: kept.states(task_id) for task_id in ends} == ends)


def test_caller_of_an_unknown_task_is_told(make_app):
    app = make_app(backend="rpc://", unknown_task_policy="dead")
    with worker_of(app), pytest.raises(Exception, match="nobody"):
        app.send_task("nobody", queue="work").get(timeout=60)


def test_child_that_dies_is_told_to_the_caller(site):
    site.worker("-P", "prefork", "-c", "1", "-Q", "work", result_backend="rpc://", worker_lost_max_deliveries=2)
    app = Amqtask("caller", broker=site.url, backend="rpc://", routing=site.folder / "routing.yaml")
    try:
        with pytest.raises(WorkerLost, match="signal 9"):
            app.send_task("die", ("a", "kill", 9), queue="work").get(timeout=30)
    finally:
        app.close()


def test_states_and_results_come_from_children_in_order(site):
    site.worker("-P", "prefork", "-c", "2", "-Q", "work", result_backend="rpc://", task_track_started=True)
    app = Amqtask("caller", broker=site.url, backend="rpc://", routing=site.folder / "routing.yaml")
    seen = []
    try:
        sent = app.send_task("slow_note", ("a", 0.5), queue="work")
        assert sent.get(timeout=30, on_message=lambda meta: seen.append(meta["status"])) == "noted a"
        many = [app.send_task("note", (str(number),), queue="work") for number in range(200)]
        assert [one.get(timeout=30) for one in many] == [f"noted {number}" for number in range(200)]
    finally:
        app.close()
    assert seen == ["STARTED", "SUCCESS"]


def test_no_thread_of_results_is_left_when_a_worker_has_ended(kept_app):
    with worker_of(kept_app):
        kept_app.tasks["add"].delay(1)
        wait_for(lambda: kept_app.results_backend.history)
    assert not [thread for thread in threading.enumerate() if thread.name == "amqtask-results"]
