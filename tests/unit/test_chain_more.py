"""The tasks that move long chains, when the broker refuses: what may pass is tried again, what will not is an end."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from recording import RecordingTransport

from amqtask import Amqtask, chain
from amqtask.canvas.plan import CHAIN_MORE, CHAIN_OVER, CHAIN_SKIP, Plan, Sending
from amqtask.canvas.planning import plan
from amqtask.errors import AccessRefused, BrokerUnavailable, MessageTooLarge, PartialPublish, QueueFull, Unroutable
from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Kind

QUEUE = "amqtask.chain.end"


@pytest.fixture
def app():
    app = Amqtask("chains", broker="amqp://nobody@127.0.0.1:1/")
    app.use_transport(RecordingTransport())
    yield app
    app.use_transport(None)


def run(app, task):
    kwargs = {"queue": QUEUE, "segment": 1, "route": "add", "error": {}, "traceback": None}
    sending = Sending(task, (), kwargs, {"task_id": "end"}, {}, "end")
    (message,) = app.canvas.outgoing(Plan(sendings=[sending]), own_reply=False)
    job = Job.of(1, "amqtask", message, message.properties, message.properties.headers)
    return Executor(app, "here").run(job).kind


def broker(monkeypatch, **answers):
    """In the place of the connection of its own that these tasks open."""
    admin = SimpleNamespace(requeue=lambda: None, ack=lambda _: None, **answers)
    monkeypatch.setattr("amqtask.execution.chain_more._admin", lambda _app: nullcontext(admin))


def raising(error):
    def refused(*_args, **_named):
        raise error

    return refused


@pytest.mark.parametrize("task", [CHAIN_MORE, CHAIN_SKIP, CHAIN_OVER])
@pytest.mark.parametrize(("error", "kind"), [(AccessRefused("no"), Kind.FAILED), (BrokerUnavailable("no"), Kind.RETRY)])
def test_a_queue_that_may_not_be_touched_ends_it_and_one_out_of_reach_does_not(app, monkeypatch, task, error, kind):
    broker(monkeypatch, get=raising(error), delete_queue=raising(error))
    assert run(app, task) == kind


@pytest.mark.parametrize("task", [CHAIN_MORE, CHAIN_SKIP])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unroutable("no such queue"), Kind.REJECTED),
        (PartialPublish({1: Unroutable("no such queue")}, 2), Kind.REJECTED),
        (PartialPublish({0: QueueFull("full"), 1: MessageTooLarge("1 GB")}, 2), Kind.REJECTED),
        (PartialPublish({0: QueueFull("full")}, 2), Kind.RETRY),
        (AccessRefused("no"), Kind.FAILED),
        (QueueFull("full"), Kind.RETRY),
    ],
    ids=repr,
)
def test_steps_that_can_never_be_sent_end_it_and_are_not_sent_in_part_for_ever(app, monkeypatch, task, error, kind):
    work = chain(app.signature("add") for _ in range(70))
    (first, *_) = app.canvas.outgoing(plan(work, context=app.plan_context()))
    broker(monkeypatch, get=lambda _queue: SimpleNamespace(tag=1, properties=first.properties, body=first.body))
    monkeypatch.setattr(app, "send", raising(error), raising=False)
    assert run(app, task) == kind


def test_the_queue_of_a_chain_that_is_over_is_deleted_and_no_other(app, monkeypatch):
    deleted = []
    broker(monkeypatch, delete_queue=deleted.append)
    assert run(app, CHAIN_OVER) == Kind.SUCCESS
    monkeypatch.setattr(f"{__name__}.QUEUE", "orders")
    assert run(app, CHAIN_OVER) == Kind.FAILED
    assert deleted == ["amqtask.chain.end"]
