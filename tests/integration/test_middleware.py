"""Middleware around sending and running tasks, and steps of users' own, in a worker."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest
from waiting import wait_for

from amqtask import Amqtask, Middleware, Queue, signals
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve
from amqtask.worker.steps.base import Step

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def app(vhost_url):
    app = Amqtask("wrapped", broker=vhost_url, task_queues=[Queue("work", type="classic")])
    yield app
    app.close()


def worker_of(app, pool="threads"):
    return EmbeddedWorker(app, resolve(Requested(pool=pool, hostname="w@here"), app.topology, app.settings))


class Noting(Middleware):
    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def before_publish(self, message):
        message.headers["x-by"] = message.headers.get("x-by", "") + self.name

    @contextmanager
    def around_task(self, request):
        self.notes.append(f"{self.name} in {request.task} {request.headers['x-by']}")
        try:
            yield
        except ValueError as error:
            self.notes.append(f"{self.name} saw {error}")
            raise
        finally:
            self.notes.append(f"{self.name} out")


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_middleware_is_around_every_task_the_first_outermost(app, pool):
    notes = []
    app.middleware.add(Noting("a", notes))
    app.middleware.add(Noting("b", notes))

    @app.task(name="plain", queue="work")
    def plain():
        notes.append("plain")

    @app.task(name="awaited", queue="work")
    async def awaited():
        await asyncio.sleep(0)
        notes.append("awaited")

    with worker_of(app, pool) as worker:
        for count, task in enumerate((plain, awaited), 1):
            notes.clear()
            task.delay()
            wait_for(lambda wanted=count: worker.counts.ended.get(0) == wanted)
            name = task.name
            assert notes == [f"a in {name} ab", f"b in {name} ab", name, "b out", "a out"]


def test_middleware_may_be_asynchronous_around_coroutines(app):
    notes = []

    class Async(Middleware):
        @asynccontextmanager
        async def around_task(self, request):
            await asyncio.sleep(0)
            notes.append("in")
            yield
            notes.append("out")

    app.middleware.add(Async())

    @app.task(name="awaited", queue="work")
    async def awaited():
        notes.append("run")

    @app.task(name="plain", queue="work")
    def plain():
        notes.append("never")

    with worker_of(app) as worker:
        awaited.delay()
        plain.delay()
        wait_for(lambda: sum(worker.counts.ended.values()) == 2)
    assert notes == ["in", "run", "out"]
    assert worker.counts.dead == 1


def test_retries_and_dead_letters_are_told_apart_from_the_io_thread(app):
    told = []

    class Alarm(Middleware):
        def on_retry(self, attempt):
            told.append(("retry", attempt.task, attempt.delay, threading.current_thread().name))

        async def on_dead(self, attempt):
            await asyncio.sleep(0)
            told.append(("dead", attempt.task_id, attempt.reason, attempt.exception))
            raise RuntimeError("a defect in there harms nobody")

    app.middleware.add(Alarm())

    @app.task(name="again", bind=True, queue="work", max_retries=1, default_retry_delay=0.01)
    def again(self):
        raise self.retry(exc=ValueError("no"))

    with worker_of(app):
        result = again.delay()
        wait_for(lambda: len(told) == 2)
    assert told == [
        ("retry", "again", 0.01, "amqtask-middleware"),
        ("dead", result.id, "failed", "ValueError: no"),
    ]


def test_what_is_no_middleware_is_refused(app):
    with pytest.raises(TypeError, match="instance of a subclass of Middleware"):
        app.middleware.add(Middleware)


def test_steps_of_users_live_with_the_worker(app):
    told = []

    class Mine(Step):
        def start(self):
            told.append("start")

        def connected(self, connection):
            told.append("connected")

        def ready(self):
            told.append("ready")

        def stopping(self):
            told.append("stopping")

        def stop(self, done):
            told.append("stop")
            done()

    app.steps["worker"].add(Mine)
    app.task(name="noop", queue="work")(lambda: None)
    with worker_of(app):
        pass
    assert told == ["start", "connected", "ready", "stopping", "stop"]


def test_the_life_of_a_worker_is_signalled(app):
    told = []
    names = ["celeryd_init", "celeryd_after_setup", "import_modules", "worker_init", "worker_process_init"]
    names += ["worker_ready", "task_received", "worker_shutting_down", "worker_shutdown"]

    def receiver(sender, signal, **named):
        told.append((signal.name, getattr(sender, "hostname", sender), named))

    for name in names:
        getattr(signals, name).connect(receiver)
    beats = []

    @signals.heartbeat_sent.connect
    def beat(sender, **_):
        beats.append(sender.enabled)

    noop = app.task(name="noop", queue="work")(lambda: None)
    try:
        with worker_of(app) as worker:
            noop.delay()
            wait_for(lambda: worker.counts.ended and beats)
    finally:
        for name in names:
            getattr(signals, name).disconnect(receiver)
    order = [name for name, *_ in told]
    assert order == [names[2], *names[:2], *names[3:]]
    senders = {name: sender for name, sender, _ in told}
    assert senders["worker_init"] == senders["worker_ready"] == senders["celeryd_init"] == "w@here"
    request = next(named["request"] for name, _, named in told if name == "task_received")
    assert (request.name, request.delivery_info["queue"]) == ("noop", "work")
