"""What follows from an attempt where messages are signed, and in a worker that can check signatures and make none."""

from __future__ import annotations

import logging

import pytest
from signing_settings import KEYS

from amqtask import Amqtask
from amqtask.execution.executor import Executor
from amqtask.execution.job import Job, Kind
from amqtask.execution.lost import Lost
from amqtask.wire.codec import encode, serializers
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.signing import ANSWER, SIGNATURE, Signer

SIG = {"task": "fine", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": True}


def app_of(own="k", *, required=True):
    app = Amqtask(
        "signed", broker="amqp://nobody@127.0.0.1:1/", backend="rpc://", message_signing_keys=KEYS,
        message_signing_key=own, message_signing_required=required,
    )  # fmt: skip

    @app.task(name="fine")
    def fine():
        return 1

    @app.task(name="again", retry=[60])
    def again():
        raise ValueError("not yet")

    return app


def job_of(app, task, *, signed=True, **embed):
    """A job that somebody has sent who asks for its result."""
    serializer = serializers.get("json")
    properties, body = encode(TaskMessage(task, "t1", embed=embed), serializer=serializer, reply_to="caller")
    if signed:
        properties = Signer(app_of().settings).sign(properties, body)
    return Job(
        1, "work", "", "work", False, 0, properties.content_type, properties.content_encoding, "t1", "caller", "m", 0,
        properties.headers, body,
    )  # fmt: skip


def run(app, job):
    return Executor(app, "w1@h").run(job)


def checked(app, record):
    properties = Properties(record.content_type, record.content_encoding, {SIGNATURE: record.signature})
    Signer(app.settings).verify(properties, record.document, ANSWER, record.correlation_id)


def test_answers_are_signed():
    app = app_of()
    (record,) = run(app, job_of(app, "fine")).after.records
    checked(app, record)


def test_the_answer_to_a_message_that_is_refused_has_no_signature():
    app = app_of()
    right, forged = job_of(app, "fine"), job_of(app, "fine", signed=False)
    (record,) = Lost(app, "w1@h").lost(right, Kind.FAILED, "died", None).records
    checked(app, record)
    for job in (forged, right._replace(headers={**right.headers, "id": "t2"})):
        (record,) = Lost(app, "w1@h").lost(job, Kind.UNDECODABLE, "no", None).records
        assert record.signature is None


def test_nothing_is_sent_because_of_a_message_that_is_refused():
    app = app_of()
    right, forged = (job_of(app, "fine", signed=signed, errbacks=[SIG]) for signed in (True, False))
    lost = Lost(app, "w1@h")
    assert lost.lost(right, Kind.FAILED, "died", None).messages
    assert not lost.lost(forged, Kind.FAILED, "died", None).messages


def test_nothing_is_retried_that_would_be_refused_the_next_time():
    app = app_of(None)
    outcome = run(app, job_of(app, "again"))
    assert (outcome.kind, outcome.error[:2]) == (Kind.FAILED, ("ValueError", "not yet"))
    assert "not retried" in outcome.text
    assert outcome.after.records[0].signature is None


@pytest.mark.parametrize(("own", "signed"), [("k", True), (None, False)])
def test_a_retry_is_signed_anew_or_has_no_signature_at_all(own, signed):
    app = app_of(own, required=False)
    outcome = run(app, job_of(app, "again"))
    assert outcome.kind == Kind.RETRY
    assert bool(outcome.headers[SIGNATURE]) is signed


def test_a_task_whose_callback_can_t_be_signed_fails_and_says_so():
    app = app_of(None)
    outcome = run(app, job_of(app, "fine", callbacks=[SIG]))
    assert (outcome.kind, outcome.error[0]) == (Kind.FAILED, "amqtask.errors.ConfigError")
    assert "message_signing_key" in outcome.text


def test_a_failure_is_told_although_its_errback_can_t_be_signed(caplog):
    caplog.set_level(logging.ERROR)
    app = app_of(None)
    outcome = run(app, job_of(app, "again", errbacks=[SIG]))
    assert (outcome.kind, len(outcome.after.records), outcome.after.messages) == (Kind.FAILED, 1, ())
    assert "its errbacks can't be sent: message_signing_required is set" in caplog.text
