"""A worker in threads of the program that sends to it."""

from __future__ import annotations

import asyncio
import threading

import pytest
from waiting import wait_for

from amqtask import Amqtask, ConfigError, Queue, TopologyError
from amqtask.broker.admin import Admin
from amqtask.errors import AmqtaskError, BrokerError
from amqtask.execution.job import Kind
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

POOLS = ["threads", "asyncio", "solo"]


@pytest.fixture
def app(vhost_url):
    app = Amqtask(
        "guest", broker=vhost_url, task_queues=[Queue("work", type="classic"), Queue("other", type="classic")]
    )
    yield app
    app.close()


def worker_of(app, pool="threads", **asked):
    asked.setdefault("queues", ["work"])
    return EmbeddedWorker(app, resolve(Requested(pool=pool, **asked), app.topology, app.settings))


def ended(worker, kind=Kind.SUCCESS):
    return worker.counts.ended.get(kind, 0)


def ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("amqtask-")]


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_run_in_this_process_and_every_thread_ends(app, pool):
    seen = []

    @app.task(queue="work")
    def note(value):
        seen.append((value, threading.current_thread()))

    @app.task(queue="work")
    async def anote(value):
        seen.append((value, threading.current_thread()))

    with worker_of(app, pool, concurrency=None if pool == "solo" else 2) as worker:
        note.delay(1)
        anote.delay(2)
        wait_for(lambda: ended(worker) == 2)
    assert sorted(value for value, _ in seen) == [1, 2]
    assert threading.main_thread() not in {thread for _, thread in seen}
    app.close()
    wait_for(lambda: not ours())


@pytest.mark.parametrize("pool", POOLS)
def test_delay_inside_a_task_goes_through_the_worker_and_elsewhere_through_the_app(app, pool):
    transports = {}

    @app.task(queue="other")
    def child():
        pass

    @app.task(queue="work")
    def parent():
        transports["sync"] = app.transport
        child.delay()

    @app.task(queue="work")
    async def aparent():
        transports["async"] = app.transport
        transports["thread"] = await asyncio.to_thread(lambda: app.transport)
        await child.adelay()

    with worker_of(app, pool) as worker, Admin(app.broker_urls, app.connection_options) as admin:
        parent.delay()
        aparent.delay()
        wait_for(lambda: ended(worker) == 2)
        assert admin.queue_state("other").ready == 2
    own = app.transport
    assert {type(one).__name__ for one in transports.values()} == {"HopTransport"}
    assert type(own).__name__ == "BrokerTransport"


def test_two_workers_of_one_app_do_not_disturb_each_other(app):
    done = []

    @app.task(queue="other")
    def child(value):
        done.append(value)

    @app.task(queue="work")
    def parent(value):
        child.delay(value)

    with worker_of(app, queues=["other"]) as second:
        with worker_of(app) as first:
            parent.delay(1)
            wait_for(lambda: ended(first) == ended(second) == 1)
        child.delay(2)
        wait_for(lambda: len(done) == 2)
    assert done == [1, 2]


def test_tasks_that_wait_for_others_go_back_at_the_end(app):
    started, gate = threading.Event(), threading.Event()

    @app.task(queue="work")
    def waits():
        started.set()
        gate.wait(60)

    with Admin(app.broker_urls, app.connection_options) as admin:
        with worker_of(app, concurrency=1) as worker:
            waits.delay_many([()] * 3)
            assert started.wait(60)
            custody = worker._assembly.engine.custody
            ending = threading.Thread(target=lambda: (wait_for(lambda: custody.draining), gate.set()))
            ending.start()
        ending.join()
        assert admin.queue_state("work").ready == 2


def test_task_that_does_not_end_in_time_is_named(app):
    gate = threading.Event()

    @app.task(queue="work", name="shop.slow")
    def slow():
        gate.wait(60)

    worker = worker_of(app, shutdown_timeout=0.2).start()
    slow.delay()
    wait_for(lambda: worker.busy)
    with pytest.raises(AmqtaskError, match=r"still running 0\.2 s after .*shop\.slow\["):
        worker.stop()
    worker.stop()  # once is enough
    gate.set()
    wait_for(lambda: [thread.name for thread in ours()] in ([], ["amqtask-keeper"]))


def test_pool_that_forks_is_refused(app):
    with pytest.raises(ConfigError, match="can't be embedded"):
        worker_of(app, "prefork")


def test_app_without_tasks_is_refused(app):
    with pytest.raises(ConfigError, match="has no tasks"):
        worker_of(app).start()


def test_wrong_password_is_raised_at_the_start(app):
    app.task(queue="work")(print)
    wrong = str(app.conf.broker_url[0]).replace("guest:guest", "guest:wrong")
    with app.rebound(broker_url=wrong), pytest.raises(BrokerError), worker_of(app):
        pass
    wait_for(lambda: not [thread for thread in ours() if "keeper" not in thread.name])


def test_missing_queue_is_raised_at_the_start(app):
    app.task(queue="work")(print)
    with app.rebound(topology_mode="none"), pytest.raises(TopologyError, match="no queue 'work'"):
        worker_of(app).start()


def test_worker_of_a_rebound_app_has_its_settings(app, vhost_url):
    seen = []

    @app.task(bind=True, queue="work")
    def look(self):
        seen.append(self.request.queue)

    with app.rebound(worker_dedupe_window=0), worker_of(app) as worker:
        look.delay()
        wait_for(lambda: ended(worker) == 1)
    assert seen == ["work"]
