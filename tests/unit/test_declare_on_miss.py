"""What a producer does when a message finds no queue, or a queue refuses it."""

from __future__ import annotations

import asyncio

import pytest
from shop import make_shop, read, task_of

from amqtask import Amqtask, Binding, Queue, QueueFull, Unroutable
from amqtask.app import recovery
from amqtask.broker.faults import declare_refused
from amqtask.topology.declarations import QueueDeclare


def test_a_missing_queue_is_declared_once_and_the_message_sent_again(shop, transport):
    transport.fail("email.send", Unroutable("no queue"))
    result = task_of(shop, "mail.send").delay(1)
    assert transport.last.properties.correlation_id == result.id
    assert [step.name for step in transport.declared[0] if isinstance(step, QueueDeclare)] == [
        "emails.dead",
        "emails",
    ]
    transport.fail("email.send", Unroutable("no queue"))
    asyncio.run(task_of(shop, "mail.other").adelay(1))
    assert len(transport.sent) == 2


def test_delay_many_declares_a_missing_queue_too(shop, transport):
    transport.fail("plain", Unroutable("no queue"), times=2)
    assert len(task_of(shop).delay_many([(1,), (2,), (3,)])) == 3
    assert (len(transport.sent), len(transport.declared)) == (3, 1)


def test_a_new_queue_that_refuses_for_a_moment_is_tried_again(shop, transport):
    transport.fail("plain", QueueFull("not ready"), times=2)
    task_of(shop).delay(1)
    transport.fail("plain", QueueFull("not ready"))
    asyncio.run(task_of(shop).adelay(2))
    transport.fail("plain", QueueFull("not ready"), times=2)
    task_of(shop).delay_many([(3,), (4,), (5,)])
    assert sorted(read(message).args[0] for message in transport.sent) == [1, 2, 3, 4, 5]


def test_a_queue_that_goes_on_refusing_is_reported(shop, transport, monkeypatch):
    monkeypatch.setattr(recovery, "_PAUSES", (0.0, 0.0))
    transport.fail("plain", QueueFull("no leader"), times=3)
    with pytest.raises(QueueFull, match="no leader"):
        task_of(shop).delay(1)
    assert transport.sent == []


def test_a_queue_with_a_length_limit_is_full_at_once(transport):
    app = Amqtask("shop", task_queues=[Queue("amqtask", max_length=1)])
    app.use_transport(transport)
    transport.fail("amqtask", QueueFull("full"))
    with pytest.raises(QueueFull):
        task_of(app).delay(1)


def test_a_queue_that_is_not_declared_is_not_made_up(shop, transport):
    transport.fail("emials", Unroutable("no queue"))
    with pytest.raises(Unroutable, match="queue 'emials' does not exist and is not declared; did you mean 'emails'"):
        task_of(shop).apply_async((1,), queue="emials")
    assert transport.declared == []


def test_an_unknown_exchange_is_named(shop, transport):
    transport.fail("k", Unroutable("no exchange 'task'"), times=2)
    with pytest.raises(Unroutable, match="exchange 'task' is not declared; did you mean 'tasks'"):
        task_of(shop).apply_async((1,), exchange="task", routing_key="k")


def test_a_key_that_no_queue_is_bound_with_is_named(shop, transport):
    transport.fail("other", Unroutable("no queue"))
    with pytest.raises(Unroutable, match="no declared queue is bound to exchange 'tasks' with key 'other'"):
        task_of(shop).apply_async((1,), exchange="tasks", routing_key="other")


def test_without_the_right_to_declare_the_error_says_what_to_do(transport):
    app = make_shop(transport, topology_mode="none")
    transport.fail("plain", Unroutable("no queue"))
    with pytest.raises(Unroutable, match="topology_mode is 'none': create it with 'amqtask topology apply'"):
        task_of(app).delay(1)
    assert transport.declared == []
    task_of(app).apply_async((1,), countdown=1)
    assert transport.declared == [[QueueDeclare("plain", passive=True)]]  # only looked for


def test_without_the_right_to_declare_a_missing_ladder_is_not_left_to_a_command_that_does_not_make_it(transport):
    app = make_shop(transport, topology_mode="none")
    transport.fail("amqtask-delay.0.0.0.0.0.0.10", Unroutable("no exchange 'amqtask.delay.0'"))
    with pytest.raises(Unroutable, match="topology_mode is 'none': the first program that may declare makes it"):
        task_of(app).apply_async((1,), countdown=1)


def test_the_way_out_of_the_ladder_is_made_with_the_first_delay_for_a_plain_queue(transport):
    app = make_shop(transport, interop="celery")
    task_of(app).apply_async((1,), queue="theirs", countdown=1)
    task_of(app).apply_async((1,), queue="theirs", countdown=1)
    (steps,) = transport.declared
    names = [step.name for step in steps if isinstance(step, QueueDeclare)]
    assert names[:4] == ["theirs.dead", "theirs", "amqtask.delay.to.theirs", "amqtask.delay.0.0"]
    task_of(app).delay(1)
    assert len(transport.declared) == 1


def test_the_way_out_of_the_ladder_is_looked_for_where_nothing_may_be_declared(transport):
    task_of(make_shop(transport, interop="celery", topology_mode="none")).apply_async((1,), queue="theirs", countdown=1)
    looked_for = [QueueDeclare(name, passive=True) for name in ("theirs", "amqtask.delay.to.theirs")]
    assert transport.declared == [looked_for]


@pytest.mark.parametrize(
    ("gone", "advice"),
    [
        ("plain", "create it with 'amqtask topology apply'"),
        ("theirs", "queue 'theirs' does not exist and is not declared; declared are emails, plain"),
        ("amqtask.delay.to.plain", "may declare makes it, when it sends with a delay to queue 'plain'"),
        ("amqtask.delay.to.theirs", "may declare makes it, when it sends with a delay to queue 'theirs'"),
    ],
)
def test_what_is_missing_for_a_delay_where_nothing_may_be_declared_comes_with_advice_that_helps(
    transport, monkeypatch, gone, advice
):
    app = make_shop(transport, interop="celery", topology_mode="none")

    def declare(layout):
        if QueueDeclare(gone, passive=True) in layout(transport.version):
            raise declare_refused(404, f"NOT_FOUND - no queue '{gone}' in vhost 'theirs'", f"queue {gone!r}")

    monkeypatch.setattr(transport, "declare", declare)
    with pytest.raises(Unroutable, match=advice):
        task_of(app).apply_async((1,), queue=gone.rpartition(".")[2], countdown=1)


def test_a_queue_that_nobody_declares_is_not_left_to_a_command_that_does_not_make_it(transport):
    transport.fail("theirs", Unroutable("no queue"))
    app = make_shop(transport, interop="celery", topology_mode="none")
    with pytest.raises(Unroutable, match="queue 'theirs' does not exist and is not declared"):
        task_of(app).apply_async((1,), queue="theirs")


def test_a_header_of_the_callers_own_is_no_way_out_of_the_ladder(transport):
    app = make_shop(transport, interop="celery")
    task_of(app).apply_async((1,), queue="theirs", countdown=1, headers={"CC": ["elsewhere"], "kept": 1})
    headers = transport.last.properties.headers
    assert ("CC" in headers, headers["BCC"], headers["kept"]) == (False, ["amqtask.delay.to.theirs"], 1)


def test_a_message_that_stays_unroutable_is_reported(shop, transport):
    transport.fail("plain", Unroutable("no queue"), times=2)
    with pytest.raises(Unroutable, match="even after declaring"):
        task_of(shop).delay(1)


def test_a_task_of_its_own_binding_reaches_its_queues(transport):
    app = Amqtask("shop", task_queues=[Queue("a", bindings=(Binding("amq.fanout"),))])
    app.use_transport(transport)
    task_of(app, exchange="amq.fanout").apply_async((1,), countdown=1)
    assert transport.last.properties.headers["CC"] == ["a"]
