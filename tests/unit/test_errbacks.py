"""What becomes of errbacks when a task has failed: called once or sent, whatever they are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from shop import read
from worker_messages import delivery

from amqtask import Amqtask, chain, chord, group
from amqtask.canvas.after import after_failure, after_success
from amqtask.canvas.maps import chunks
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.planning import plan
from amqtask.canvas.signature import Signature
from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Kind
from amqtask.execution.lost import Lost
from amqtask.wire.message import TaskMessage
from amqtask.worker.deliveries.outcome import Effects


@pytest.fixture
def app():
    """Without a backend: nothing follows from a task but what is linked to it."""
    app = Amqtask("errbacks", broker="amqp://nobody@127.0.0.1:1/")
    app.called = []

    @app.task(name="fails", retry=False)
    def fails():
        raise ValueError("no luck")

    @app.task(name="direct")
    def direct(request, error, traceback):
        app.called.append((request.id, repr(error)))

    @app.task(name="by_id")
    def by_id(task_id):
        raise AssertionError("sent, not called")

    return app


def job_of(app, sig):
    (message,) = app.canvas.outgoing(plan(sig, context=app.canvas.plan_context()))
    return Job.of(1, "amqtask", message, message.properties, message.properties.headers)


def sent_by(outcome):
    return [read(message) for message in outcome.after.messages] if outcome.after else []


COMPOSED = {
    "task": (lambda s: s("by_id"), ["by_id"]),
    "chain": (lambda s: chain(s("by_id"), s("by_id")), ["by_id"]),
    "immutable chain": (lambda s: chain(s("by_id", immutable=True), s("by_id", immutable=True)), ["by_id"]),
    "group": (lambda s: group(s("by_id"), s("by_id")), ["by_id", "by_id"]),
    "chord": (lambda s: chord([s("by_id")], s("by_id")), ["amqtask.chord_watch", "by_id"]),
    "chunks": (lambda s: chunks(s("by_id"), [(1,), (2,)], 1), ["celery.starmap", "celery.starmap"]),
}


@pytest.mark.parametrize(("errback", "tasks"), COMPOSED.values(), ids=COMPOSED.keys())
def test_an_errback_may_be_any_work(app, errback, tasks, caplog):
    job = job_of(app, app.signature("fails").on_error(errback(app.signature)))
    outcome = Executor(app, "here").run(job)
    assert outcome.kind == Kind.FAILED
    assert [message.task for message in sent_by(outcome)] == tasks
    lost = Lost(app, "here").lost(job, Kind.FAILED, "gone", None)
    assert [message.properties.headers["task"] for message in lost.messages] == tasks
    assert "Errback" not in caplog.text


def test_an_errback_of_an_expired_task_is_called_once_though_nobody_keeps_results(app):
    past = datetime.now(UTC) - timedelta(seconds=5)
    job = job_of(app, app.signature("fails").set(expires=past).on_error(app.signature("direct")))
    outcome = Executor(app, "here").run(job)
    assert (outcome.kind, len(app.called)) == (Kind.EXPIRED, 1)
    effect = Effects(lambda _: None, "here", (), 3).of(delivery(), outcome)
    assert (effect.dead, effect.lost) == ("expired", None)


def test_several_errbacks_of_a_lost_task_are_tasks_of_their_own_each_where_it_says(app):
    work = app.signature("fails").on_error(app.signature("direct"))
    job = job_of(app, work.on_error(app.signature("direct").set(queue="alarms", priority=7)))
    first, second = Lost(app, "here").lost(job, Kind.FAILED, "gone", None).messages
    assert first.properties.headers["task"] == second.properties.headers["task"] == "amqtask.errback"
    assert first.properties.headers["id"] != second.properties.headers["id"]
    assert (second.routing_key, second.properties.priority) == ("alarms", 7)


@pytest.mark.parametrize("broken", [chord([Signature("by_id")]), {**Signature("by_id"), "kwargs": 5}])
def test_an_errback_that_cannot_be_planned_keeps_nothing_else_back(app, broken, caplog):
    message = TaskMessage("fails", "t1", embed={"errbacks": [dict(Signature("by_id")), dict(broken)]})
    message.embed["chain"] = [dict(Signature("by_id", task_id="next"))]
    follow = after_failure(message, PlanContext())
    assert [sending.task for new in follow.plans for sending in new.sendings] == ["by_id"]
    assert [failed.task_id for failed in follow.failed] == ["next"]
    assert "The errback" in caplog.text


def test_a_callback_that_cannot_be_planned_is_told_and_the_task_has_run_well(caplog):
    message = TaskMessage("fails", "t1", embed={"callbacks": [chord([Signature("by_id")]), Signature("by_id")]})
    follow = after_success(message, 5, PlanContext())
    assert [sending.task for new in follow.plans for sending in new.sendings] == ["by_id"]
    assert "The callback celery.chord of task t1 can't be sent: a chord needs a body" in caplog.text
