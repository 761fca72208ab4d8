"""Settings of Celery's that change what a worker does with messages, seen on the broker."""

from __future__ import annotations

import pytest
from waiting import wait_for

from amqtask import Amqtask
from amqtask.broker.admin import Admin
from amqtask.execution.job import Kind
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def configured(vhost_url):
    """Makes apps; closes them."""
    made = []

    def make(**settings):
        app = Amqtask("guest", broker=vhost_url, task_default_queue_type="classic", config_source=settings)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def worker_of(app, *queues):
    return EmbeddedWorker(app, resolve(Requested(pool="solo", queues=queues), app.topology, app.settings))


@pytest.mark.parametrize("dropped", [True, False])
def test_failed_messages_are_dead_letters_unless_they_are_to_be_dropped(configured, dropped):
    app = configured(CELERY_ACKS_ON_FAILURE_OR_TIMEOUT=dropped)

    @app.task(name="fails")
    def fails():
        raise ValueError("no")

    with Admin(app.broker_urls, app.connection_options) as admin, worker_of(app, "amqtask") as worker:
        fails.delay()
        wait_for(lambda: worker.counts.ended.get(Kind.FAILED) == 1)
        wait_for(lambda: admin.queue_state("amqtask.dead").ready == (0 if dropped else 1))
        wait_for(lambda: worker.counts.dead == (0 if dropped else 1))


def test_the_default_queue_is_reached_by_its_exchange(configured):
    seen = []
    app = configured(
        CELERY_DEFAULT_QUEUE="q", CELERY_DEFAULT_EXCHANGE="x", CELERY_DEFAULT_EXCHANGE_TYPE="topic",
        CELERY_DEFAULT_ROUTING_KEY="task.#",
    )  # fmt: skip

    @app.task(name="note")
    def note(value):
        seen.append(value)

    with worker_of(app, "q"):
        note.delay("by name")
        note.apply_async(("by key",), exchange="x", routing_key="task.one")
        wait_for(lambda: sorted(seen) == ["by key", "by name"])


def test_a_queue_that_nobody_has_declared_is_made_when_that_is_asked_for(configured):
    seen = []
    app = configured(CELERY_CREATE_MISSING_QUEUES=True)

    @app.task(name="note")
    def note(value):
        seen.append(value)

    note.apply_async(("first",), queue="fresh")
    with worker_of(app, "fresh"):
        note.apply_async(("second",), queue="fresh")
        wait_for(lambda: seen == ["first", "second"])


def test_transient_messages_arrive(configured):
    seen = []
    app = configured(CELERY_DEFAULT_DELIVERY_MODE="transient", CELERY_ANNOTATIONS={"*": {"queue": "amqtask"}})

    @app.task(name="note", bind=True)
    def note(self):
        seen.append(self.request.queue)

    with worker_of(app, "amqtask"):
        note.delay()
        wait_for(lambda: seen == ["amqtask"])
