"""Sending through a real RabbitMQ: what ``delay()`` has promised when it returns."""

from __future__ import annotations

import asyncio
import threading

import pytest
from waiting import wait_for

from amqtask import Amqtask, Exchange, PartialPublish, Queue, Route, Unroutable
from amqtask.broker.admin import Admin
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.codec import decode

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def app(vhost_url):
    app = Amqtask(
        "send-test",
        broker=vhost_url,
        task_queues=[Queue("emails", Exchange("tasks", "topic"), routing_key="email.#"), Queue("amqtask")],
        task_routes=[Route("mail.*", exchange="tasks", routing_key="email.send")],
        delay_queue_type="classic",
        broker_confirm_timeout=20,
    )

    @app.task(name="add")
    def add(a, b):
        return a + b

    @app.task(name="mail.send")
    def send(to):
        pass

    with app:
        yield app


def received(app, queue):
    """Every message of the queue, decoded."""
    found = []
    with Admin(app.broker_urls, app.connection_options) as admin:
        while (message := admin.get(queue)) is not None:
            found.append(decode(message.properties, message.body, ["msgpack", "json"]))
            admin.ack(message.tag)
    return found


def test_a_sent_task_is_in_its_queue_when_delay_returns(app):
    result = app.tasks["add"].delay(1, b=2)
    (message,) = received(app, "amqtask")
    assert (message.id, message.task, message.args, message.kwargs) == (result.id, "add", (1,), {"b": 2})


def test_an_exchange_and_its_queue_are_declared_on_the_first_miss(app):
    app.tasks["mail.send"].delay("me")
    app.tasks["mail.send"].delay("you")
    assert [message.args for message in received(app, "emails")] == [("me",), ("you",)]


def test_many_tasks_arrive_in_order(app):
    results = app.tasks["add"].delay_many([(number, number) for number in range(1000)])
    messages = received(app, "amqtask")
    assert [message.id for message in messages] == [result.id for result in results]
    assert [message.args[0] for message in messages] == list(range(1000))


def test_a_countdown_of_less_than_a_second_arrives_after_it(app):
    app.tasks["mail.send"].apply_async(("me",), countdown=0.3)
    arrived = []
    wait_for(lambda: arrived.extend(received(app, "emails")) or arrived)
    assert arrived[0].args == ("me",)
    assert arrived[0].eta is not None


def test_an_undeclared_queue_is_unroutable_and_nothing_is_made_up(app):
    with pytest.raises(Unroutable, match="queue 'emials' does not exist and is not declared; did you mean"):
        app.tasks["add"].apply_async((1, 2), queue="emials")
    with Admin(app.broker_urls, app.connection_options) as admin:
        assert admin.queue_state("emials") is None


def test_an_undeclared_queue_is_unroutable_with_a_countdown_too(app):
    mail = app.tasks["mail.send"]

    async def main():
        try:
            await mail.aapply_async(("me",), queue="emials", countdown=0.1)
        finally:
            await app.aclose()

    with pytest.raises(Unroutable, match="queue 'emials' does not exist and is not declared; did you mean"):
        mail.apply_async(("me",), queue="emials", countdown=0.1)
    with pytest.raises(Unroutable, match="queue 'emials' does not exist and is not declared; did you mean"):
        asyncio.run(main())
    with Admin(app.broker_urls, app.connection_options) as admin:
        assert admin.queue_state("emials") is None
        admin.declare(QueueDeclare("emials"))  # of another program
    mail.apply_async(("me",), queue="emials", countdown=0.1)
    wait_for(lambda: received(app, "emials"))


def test_a_countdown_to_a_queue_that_is_not_made_yet_is_an_error_where_it_may_not_be_declared(app):
    with app.rebound(topology_mode="none") as rebound, pytest.raises(Unroutable, match="amqtask topology apply"):
        rebound.tasks["mail.send"].apply_async(("me",), countdown=0.1)


def test_a_full_queue_is_reported_message_by_message(vhost_url):
    app = Amqtask("full", broker=vhost_url, task_queues=[Queue("amqtask", type="classic", max_length=3)])

    @app.task
    def work(number):
        pass

    with app, pytest.raises(PartialPublish) as caught:
        work.delay_many([(number,) for number in range(50)])
    assert 0 < len(caught.value.errors) <= 47
    assert len(received(app, "amqtask")) == 50 - len(caught.value.errors)


def test_many_threads_may_send_at_once(app):
    threads = [threading.Thread(target=lambda: [app.tasks["add"].delay(1, 2) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({message.id for message in received(app, "amqtask")}) == 160


def test_coroutines_send_too(app):
    async def main():
        results = await asyncio.gather(*(app.tasks["mail.send"].adelay(str(n)) for n in range(20)))
        await app.aclose()
        return results

    results = asyncio.run(main())
    assert {message.id for message in received(app, "emails")} == {result.id for result in results}
