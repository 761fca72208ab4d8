"""What becomes of messages that are sent together when some of their queues are missing."""

from __future__ import annotations

import asyncio

import pytest
from recording import RecordingTransport
from shop import make_shop, read, task_of

from amqtask import BrokerUnavailable, PartialPublish, Unroutable
from amqtask.canvas.group import group
from amqtask.errors import AccessRefused, TopologyError
from amqtask.topology.declarations import QueueDeclare

KEYS = {"email.send": "emails"}


class EmptyBroker(RecordingTransport):
    """Has the queues that were declared, and no others."""

    def __init__(self, **refusals):
        super().__init__()
        self.queues, self.refusals, self.asked = set(), refusals, []

    def _error(self, message):
        queue = KEYS.get(message.routing_key, message.routing_key)
        return None if queue in self.queues else Unroutable(f"no queue {queue!r}")

    def declare(self, layout):
        wanted = {step.name for step in layout(self.version) if isinstance(step, QueueDeclare)}
        self.asked.append(wanted)
        for name, refusal in self.refusals.items():
            if name in wanted:
                raise refusal
        self.queues |= wanted

    async def asend(self, message, *, timeout):  # noqa: ASYNC109 -- a Transport has it
        await asyncio.sleep(0)
        self.send(message, timeout=timeout)

    async def adeclare(self, layout):
        await asyncio.sleep(0)
        self.declare(layout)


def work(app, *queues):
    """A group of a task for each of these."""
    tasks = {"emails": task_of(app, "mail.send").s, "plain": task_of(app).s, "nobody's": task_of(app, "x.y").s}
    return group(tasks[queue](number).set(queue=queue) for number, queue in enumerate(queues))


def sent(broker):
    return [message.routing_key for message in broker.sent]


def failed(error):
    return {index: type(one) for index, one in error.value.errors.items()}


def test_every_queue_that_is_missing_is_declared():
    broker = EmptyBroker()
    work(make_shop(broker), "emails", "plain", "emails", "plain").delay()
    assert (sent(broker), len(broker.asked)) == (["emails", "plain", "emails", "plain"], 2)


def test_a_queue_that_nobody_declares_holds_up_no_other():
    broker = EmptyBroker()
    with pytest.raises(PartialPublish) as error:
        work(make_shop(broker), "nobody's", "plain", "emails").delay()
    assert (sent(broker), failed(error)) == (["plain", "emails"], {0: Unroutable})
    assert "does not exist and is not declared" in str(error.value.errors[0])


def test_a_queue_that_may_not_be_declared_holds_up_no_other():
    broker = EmptyBroker(emails=AccessRefused("no right to declare"))
    broker.queues.add("plain")
    with pytest.raises(PartialPublish) as error:
        work(make_shop(broker), "emails", "plain", "emails").delay()
    assert (sent(broker), failed(error)) == (["plain"], {0: AccessRefused, 2: AccessRefused})


def test_when_nothing_was_sent_the_refusal_is_the_error():
    broker = EmptyBroker(plain=TopologyError("locked"))
    with pytest.raises(TopologyError, match="locked"):
        task_of(make_shop(broker)).delay_many([(1,), (2,)])


def test_a_broker_that_is_gone_is_not_asked_for_one_queue_after_the_other():
    broker = EmptyBroker(emails=BrokerUnavailable("gone"))
    broker.queues.add("nobody's")
    with pytest.raises(PartialPublish) as error:
        work(make_shop(broker), "nobody's", "emails", "plain").delay()
    assert failed(error) == {1: BrokerUnavailable, 2: BrokerUnavailable}
    assert len(broker.asked) == 1


@pytest.mark.parametrize("countdown", [None, 1])
def test_of_calls_none_of_which_was_sent_none_stays_queued(tmp_path, countdown):
    broker = EmptyBroker(plain=TopologyError("locked"))
    app = make_shop(broker, result_track_sent=True, result_backend=f"file://{tmp_path}")
    add = task_of(app)
    with pytest.raises(TopologyError, match="locked"):
        group(add.s(one).set(task_id=str(one), countdown=countdown) for one in range(2)).delay()
    assert [app.AsyncResult(str(one)).state for one in range(2)] == ["PENDING", "PENDING"]


@pytest.mark.parametrize("countdown", [None, 1])
def test_coroutines_that_need_the_same_at_once_declare_it_once(countdown):
    broker = EmptyBroker()
    broker.queues.add("amqtask-delay.0.0.0.0.0.0.10")
    add = task_of(make_shop(broker))
    asyncio.run(group(add.s(one).set(countdown=countdown) for one in range(50)).adelay())
    assert (len(broker.sent), len(broker.asked)) == (50, 1)


def test_the_last_of_a_group_of_thousands_does_not_run_out_of_time_before_its_turn():
    broker = EmptyBroker()
    broker.asend = None  # one by one, each with its own time
    add = task_of(make_shop(broker))
    asyncio.run(group(add.s(one) for one in range(2000)).adelay())
    assert [read(message).args[0] for message in broker.sent] == list(range(2000))


def test_a_declaration_that_fails_is_the_error_of_all_who_wait_for_it():
    broker = EmptyBroker(plain=TopologyError("locked"))
    with pytest.raises(PartialPublish) as error:
        asyncio.run(group(task_of(make_shop(broker)).s(one) for one in range(3)).adelay())
    assert (failed(error), len(broker.asked)) == (dict.fromkeys(range(3), TopologyError), 1)


def test_a_coroutine_that_is_cancelled_leaves_its_declaration_to_the_others():
    broker = EmptyBroker()
    add = task_of(make_shop(broker))

    async def main():
        begun = broker.adeclare

        async def adeclare(layout):
            first.cancel()
            await begun(layout)

        broker.adeclare = adeclare
        first, second = (asyncio.create_task(add.adelay(one)) for one in range(2))
        return await asyncio.gather(first, second, return_exceptions=True)

    cancelled, result = asyncio.run(main())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [message.properties.correlation_id for message in broker.sent] == [result.id]
    assert len(broker.asked) == 1
