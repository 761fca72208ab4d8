"""What middleware is called for around sending, retries and chords, without a broker."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest
from pool_host import job_for
from recording import RecordingTransport
from shop import make_shop, read, task_of

from amqtask import Middleware, chord
from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind


class Noting(Middleware):
    def __init__(self):
        self.notes = []

    @contextmanager
    def around_publish(self, count):
        self.notes.append(f"sending {count}")
        try:
            yield
        except OSError as error:
            self.notes.append(f"failed: {error}")
            raise
        self.notes.append("sent")

    def before_publish(self, message):
        self.notes.append(message.task)

    def before_chord(self, headers):
        headers["x-from"] = "chord"

    def before_retry(self, request, headers):
        headers |= {"x-before": request.id, "retries": 77}


@pytest.fixture
def app():
    return make_shop(RecordingTransport())


@pytest.fixture
def noting(app):
    return app.middleware.add(Noting())


def test_middleware_is_around_a_call_until_it_is_confirmed(app, noting):
    add = task_of(app)
    add.delay(1)
    asyncio.run(add.adelay(1))
    assert noting.notes == ["sending 1", "plain.add", "sent"] * 2


def test_middleware_is_once_around_a_batch_and_a_group(app, noting):
    add = task_of(app)
    add.delay_many([(1,), (2,)])
    (add.s(1) | add.s(2)).delay()
    assert noting.notes == ["sending 2", "plain.add", "plain.add", "sent", "sending 1", "plain.add", "sent"]


def test_middleware_sees_why_a_call_could_not_be_sent(app, noting):
    app.transport.fail("plain", OSError("no way"))
    with pytest.raises(OSError, match="no way"):
        task_of(app).delay(1)
    assert noting.notes[-1] == "failed: no way"


def test_a_middleware_that_cannot_begin_lets_those_around_it_end(app, noting):
    class Broken(Middleware):
        def around_publish(self, count):
            raise OSError(f"not {count}")

    app.middleware.add(Broken())
    with pytest.raises(OSError, match="not 1"):
        task_of(app).delay(1)
    assert noting.notes == ["sending 1", "failed: not 1"]
    assert app.transport.sent == []


@pytest.mark.parametrize("options", [{}, {"priority": 3}], ids=["the same message", "a message of its own"])
def test_the_next_attempt_has_headers_of_middleware_but_none_of_the_protocol(app, noting, options):
    @app.task(bind=True, name="plain.again")
    def again(self):
        raise self.retry(countdown=60, **options)

    job = job_for(1, "plain.again")
    outcome = Executor(app, "w1@here").run(job)
    assert outcome.kind == Kind.RETRY
    headers = outcome.after.messages[0].properties.headers if options else outcome.headers
    assert (headers["x-before"], headers["retries"]) == (job.correlation_id, 1)


def test_what_before_retry_raises_costs_no_attempt(app, caplog):
    class Broken(Middleware):
        def before_retry(self, request, headers):
            raise OSError("no store")

    app.middleware.add(Broken())

    @app.task(bind=True, name="plain.again")
    def again(self):
        raise self.retry(countdown=60)

    assert Executor(app, "w1@here").run(job_for(1, "plain.again")).kind == Kind.RETRY
    assert "no store" in caplog.text


def test_the_body_of_a_chord_carries_headers_of_middleware_beside_its_own(app, noting):
    add = task_of(app)
    chord([add.s(1), add.s(2)], add.s(3).set(headers={"x-own": 1})).delay()
    members = [read(one) for one in app.transport.sent if one.properties.headers["task"] == "plain.add"]
    assert len(members) == 2
    for member in members:
        assert member.embed["chord"]["options"]["headers"] == {"x-from": "chord", "x-own": 1}
