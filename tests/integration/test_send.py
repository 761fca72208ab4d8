"""Sending through a real RabbitMQ: what ``delay()`` has promised when it returns."""

from __future__ import annotations

import asyncio
import threading

import pytest
from stores import record
from waiting import wait_for

from amqtask import Amqtask, Exchange, PartialPublish, Queue, Route, Unroutable, signals
from amqtask.broker.admin import Admin
from amqtask.canvas.group import group
from amqtask.tasks.context import Context, running
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


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_group_declares_every_queue_that_is_missing(app, asynchronous):
    add, mail = app.tasks["add"], app.tasks["mail.send"]
    work = group(mail.s("me"), add.s(1, 2), mail.s("you"), add.s(3, 4))

    async def main():
        await work.adelay()
        await app.aclose()

    asyncio.run(main()) if asynchronous else work.delay()
    arrived = [[message.args for message in received(app, queue)] for queue in ("emails", "amqtask")]
    assert [sorted(args) for args in arrived] == [[("me",), ("you",)], [(1, 2), (3, 4)]]


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


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_that_could_not_be_sent_does_not_count_as_queued(app, tmp_path, asynchronous):
    def send(rebound, **options):
        mail = rebound.tasks["mail.send"]
        if not asynchronous:
            return mail.apply_async(("me",), **options)

        async def main():
            try:
                return await mail.aapply_async(("me",), **options)
            finally:
                await rebound.aclose()

        return asyncio.run(main())

    with app.rebound(result_track_sent=True, result_backend=f"file://{tmp_path}") as rebound:
        assert send(rebound, task_id="sent").state == "QUEUED"
        for task_id in ("lost", "done"):
            if task_id == "done":  # by a worker that had the same call earlier
                rebound.results.backend.store([record(task_id)])
            with pytest.raises(Unroutable):
                send(rebound, queue="emials", task_id=task_id)
        states = [rebound.AsyncResult(task_id).state for task_id in ("sent", "lost", "done")]
        assert states == ["QUEUED", "PENDING", "SUCCESS"]


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


@pytest.mark.parametrize("how", ["delay_many", "group", "awaited group"])
def test_of_a_batch_that_failed_in_part_the_rest_is_told_all_the_same(app, how):
    echo = app.task(name="echo")(lambda text: text)
    texts, large, told = ["a", "x" * 17_000_000, "b"], 1, []
    request = Context("outer", "t1")

    @signals.after_task_publish.connect(sender="echo")
    def sent(headers, **_):
        told.append(headers["id"])

    async def awaited():
        try:
            await group(echo.s(text) for text in texts).adelay()
        finally:
            await app.aclose()

    send = {
        "delay_many": lambda: echo.delay_many([(text,) for text in texts]),
        "group": lambda: group(echo.s(text) for text in texts).delay(),
        "awaited group": lambda: asyncio.run(awaited()),
    }
    with running(request), pytest.raises(PartialPublish) as caught:
        send[how]()
    signals.after_task_publish.disconnect(sent, sender="echo")
    ids = [one for at, one in enumerate(caught.value.ids) if at != large]
    assert list(caught.value.errors) == [large]
    assert sorted(told) == sorted(ids)
    if how == "delay_many":
        assert [child[0][0] for child in request.children] == ids


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
