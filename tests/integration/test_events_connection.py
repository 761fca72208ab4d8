"""Events and the connection: receivers and workers outlive it, and producers tell what they have sent."""

from __future__ import annotations

import asyncio

import pytest
from nodes import Node
from waiting import wait_for
from watching import Watch

from amqtask import Amqtask, Queue, signals
from amqtask.errors import AccessRefused
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq


def make_app(url, **settings):
    app = Amqtask("watched", broker=url, task_queues=[Queue("work", type="classic")], **settings)
    app.task(name="noop", queue="work")(lambda: None)
    return app


def worker_of(app):
    asked = Requested(pool="threads", hostname="w1@here")
    return EmbeddedWorker(app, resolve(asked, app.topology, app.settings))


def test_receivers_and_workers_go_on_after_the_broker_has_closed_every_connection(own_node: Node, own_vhost: str):
    app = make_app(own_vhost, worker_send_task_events=True, worker_heartbeat_interval=0.5)
    with Watch(app) as watch, worker_of(app):
        watch.wait("worker-heartbeat")
        former = watch.receiver._channel
        own_node.close_connections()
        wait_for(lambda: watch.receiver.consuming and watch.receiver._channel is not former)
        seen = len(watch.of("worker-heartbeat"))
        watch.wait("worker-heartbeat", seen + 2)
        app.tasks["noop"].delay()
        watch.wait("task-succeeded")
    assert len(watch.of("worker-online")) >= 1
    app.close()


def test_a_receiver_that_hears_nothing_gives_up_when_it_is_told_to(vhost_url):
    app = make_app(vhost_url)
    with app.connection() as connection, pytest.raises(TimeoutError, match=r"no event within 0\.3 s"):
        app.events.Receiver(connection, {}).capture(timeout=0.3)


def test_a_receiver_with_a_wrong_password_says_so(vhost_url):
    app = make_app(vhost_url.replace("guest:guest@", "guest:wrong@"))
    with app.connection() as connection, pytest.raises(AccessRefused):
        app.events.Receiver(connection).capture()


def test_a_connection_can_be_made_first(vhost_url):
    with make_app(vhost_url).connection() as connection:
        connection.ensure_connection()
        assert connection.connected
    assert not connection.connected


def test_producers_tell_what_they_have_sent_when_they_are_asked_to(vhost_url):
    app = make_app(vhost_url, task_send_sent_event=True)

    @app.task(name="add", queue="work")
    def add(x, y):
        return x + y

    add.delay(0, y=0)  # nobody listens
    with Watch(app) as watch:
        ids = [add.delay(1, y=2).id, *(one.id for one in add.delay_many([(3, 4), (5, 6)]))]
        ids.append(asyncio.run(sent_by_coroutine(app, add)))
        sent = watch.wait("task-sent", 4)
    assert [event["uuid"] for event in sent] == ids
    assert (sent[0]["name"], sent[0]["args"], sent[0]["kwargs"]) == ("add", "(1,)", "{'y': 2}")
    assert (sent[0]["queue"], sent[0]["routing_key"], sent[0]["retries"]) == ("work", "work", 0)
    assert sent[0]["hostname"].startswith("gen")
    app.close()


async def sent_by_coroutine(app, task):
    result = await task.adelay(7, y=8)
    await app.aclose()
    return result.id


def test_the_signal_after_a_publish_comes_once_it_is_confirmed(vhost_url):
    app = make_app(vhost_url)
    told = []

    @signals.after_task_publish.connect(sender="noop")
    def sent(sender, body, headers, exchange, routing_key, **_):
        told.append((sender, list(body[0]), headers["id"], exchange, routing_key))

    result = app.tasks["noop"].delay()
    app.send_task("other", (1,), queue="work")
    assert told == [("noop", [], result.id, "", "work")]
    app.close()
