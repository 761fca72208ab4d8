"""What whoever can publish but holds no key can't do where signatures are required: answer, count, steer, schedule."""

from __future__ import annotations

import asyncio
import threading

import pytest
from beats import beating, leads, new_app
from waiting import wait_for

from amqtask import Amqtask, BrokerUnavailable, Queue, Signature, chain, chord
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.control.tombstones import Tombstone, message
from amqtask.topology.declarations import DEFAULT_EXCHANGE, QueueDeclare
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

SIGNED = {
    "message_signing_keys": {"k": "a secret that nobody guesses"},
    "message_signing_key": "k",
    "message_signing_required": True,
}


def app_of(url, **settings):
    queues = [Queue("signed", type="classic")]
    app = Amqtask("signed", broker=url, backend="rpc://", task_queues=queues, task_default_queue="signed", **settings)

    @app.task(name="echo")
    def echo(value):
        return value

    @app.task(name="listed")
    def listed(values):
        return values

    app.gate = threading.Event()

    @app.task(name="waiting")
    def waiting():
        app.gate.wait(60)
        return "real"

    return app


@pytest.fixture
def app(vhost_url):
    made = app_of(vhost_url, **SIGNED)
    yield made
    made.gate.set()
    made.close()


@pytest.fixture
def stranger(vhost_url):
    with app_of(vhost_url) as made:
        yield made


@pytest.fixture
def admin(app):
    with Admin(app.broker_urls, app.connection_options) as made:
        yield made


def working(app):
    options = resolve(Requested(pool="threads", concurrency=2, hostname="w1@h"), app.topology, app.settings)
    return EmbeddedWorker(app, options)


def told(caplog, text):
    return [record for record in caplog.records if text in record.getMessage()]


def test_an_answer_without_a_signature_is_not_believed(app, admin, caplog):
    with working(app):
        result = app.tasks["waiting"].delay()
        properties = Properties("application/json", "utf-8", correlation_id=result.id)
        document = b'{"task_id": "%s", "status": "SUCCESS", "result": "forged"}' % result.id.encode()
        for _ in range(2):
            admin.publish(Outgoing(DEFAULT_EXCHANGE, app.results_backend.reply_to, properties, document))
        wait_for(lambda: result.state == "PENDING" and told(caplog, "An answer to this process is left out"))
        app.gate.set()
        assert result.get(timeout=60) == "real"
    assert len(told(caplog, "An answer to this process is left out")) == 1


def test_the_answer_to_one_task_can_t_be_passed_off_as_that_to_another(app, admin, caplog):
    other = app.tasks["echo"].delay("of another task")
    wait_for(lambda: admin.queue_state("signed") is not None)
    taken = admin.get("signed")
    admin.ack(taken.tag)
    with working(app):
        result = app.tasks["waiting"].delay()
        old = taken.properties
        kind, encoding = old.content_type, old.content_encoding
        properties = Properties(kind, encoding, old.headers, 2, 0, result.id, old.reply_to, message_id=old.message_id)
        admin.publish(Outgoing(DEFAULT_EXCHANGE, "signed", properties, taken.body))
        wait_for(lambda: result.state != "PENDING" or told(caplog, f"task '{result.id}': the signature by key"))
        app.gate.set()
        assert result.get(timeout=60) == "real"
    assert other.state == "PENDING"


def test_coroutines_believe_it_as_little_and_those_of_workers_as_much(app, admin, caplog):
    async def main():
        result = await app.tasks["waiting"].adelay()
        properties = Properties("application/json", "utf-8", correlation_id=result.id)
        admin.publish(Outgoing(DEFAULT_EXCHANGE, app.results_backend.reply_to, properties, b'{"status": "SUCCESS"}'))
        app.gate.set()
        answer = await result.aget(timeout=60)
        await app.aclose()
        return answer

    with working(app):
        assert asyncio.run(main()) == "real"
    assert told(caplog, "An answer to this process is left out")


def test_a_worker_that_refuses_a_message_signs_no_answer_to_it_and_tells_no_scheduler(app, stranger, admin, caplog):
    admin.declare(QueueDeclare("log", durable=False))
    mark = {"x-amqtask-beat": {"entry": "e", "due": "2030-01-01T00:00:00+00:00", "report": "log"}}
    with working(app):
        result = app.tasks["waiting"].delay()
        reply_to = app.results_backend.reply_to
        stranger.tasks["echo"].apply_async(["x"], task_id=result.id, reply_to=reply_to, headers=mark)
        wait_for(lambda: len(DeadLetters(admin, "signed")) == 1)
        assert result.state == "PENDING"
        assert admin.get("log") is None
        app.gate.set()
        assert result.get(timeout=60) == "real"
    assert told(caplog, "An answer to this process is left out")


def test_the_end_of_a_member_of_a_chord_counts_only_if_a_worker_has_signed_it(app, admin, caplog):
    waiting, echo, listed = (app.tasks[name] for name in ("waiting", "echo", "listed"))
    with working(app):
        result = chord([waiting.s(), echo.s("two")], listed.s()).apply_async()
        member, queue = result.parent.children[0].id, f"amqtask.chord.{result.parent.id}"
        properties = Properties("application/json", "utf-8", {"group_index": 0}, message_id=member)
        forged = b'[1, "%s", "SUCCESS", "forged"]' % member.encode()
        for _ in range(3):
            admin.publish(Outgoing(DEFAULT_EXCHANGE, queue, properties, forged))
        app.gate.set()
        assert result.get(timeout=60) == ["real", "two"]
    assert len(told(caplog, "The end of a member of a chord is left out")) == 1


def test_a_revocation_without_a_signature_revokes_nothing(app, admin, caplog):
    app.control.revoke("gone")
    admin.publish(message(Tombstone(2e9, ("kept",))))
    gone, kept = (app.tasks["echo"].apply_async([name], task_id=name) for name in ("gone", "kept"))
    with working(app):
        assert kept.get(timeout=60) == "kept"
        wait_for(lambda: gone.state == "REVOKED")
    assert len(told(caplog, "An entry of amqtask.revoked is left out")) == 1


def test_workers_are_steered_by_holders_of_a_key_and_looked_at_by_all(app, stranger, caplog):
    with working(app):
        wait_for(lambda: app.control.ping(timeout=0.3))
        (answer,) = stranger.control.shutdown(reply=True, limit=1, timeout=60)
        assert "no signature of a known key" in answer["w1@h"]["error"]
        (answer,) = stranger.control.broadcast(
            "election", {"id": "e", "topic": "task", "action": stranger.tasks["echo"].s(1)}, reply=True, limit=1
        )
        assert "no signature of a known key" in answer["w1@h"]["error"]
        assert stranger.control.ping(timeout=60, limit=1) == [{"w1@h": {"ok": "pong"}}]
        (answer,) = app.control.rate_limit("echo", "10/m", reply=True, limit=1, timeout=60)
        assert "ok" in answer["w1@h"]
        assert app.tasks["echo"].delay("lives").get(timeout=60) == "lives"
    assert len(told(caplog, "A request of remote control is left out")) == 1


def test_what_a_worker_keeps_of_a_revocation_that_it_was_told_is_signed(app, caplog):
    with working(app):
        wait_for(lambda: app.control.ping(timeout=0.3))
        app.control.broadcast("revoke", {"task_id": ["gone"]}, reply=True, limit=1, timeout=60)
    with working(app):
        gone = app.tasks["echo"].apply_async(["x"], task_id="gone")
        wait_for(lambda: gone.state == "REVOKED")
    assert not told(caplog, "is left out")


def test_answers_of_remote_control_are_believed_if_they_are_signed(app, stranger, caplog):
    with working(stranger):
        wait_for(lambda: stranger.control.ping(timeout=0.3))
        assert app.control.ping(timeout=0.3) == []
    assert told(caplog, "An answer of remote control is left out")


def test_a_scheduler_s_answers_are_believed_if_they_are_signed(vhost_url, monkeypatch, caplog):
    app, stranger = new_app(vhost_url, **SIGNED), new_app(vhost_url)
    with app, stranger:
        with beating(stranger) as beat:
            wait_for(lambda: leads(beat))
            assert stranger.schedules.list() == []
            with monkeypatch.context() as patched:
                patched.setattr("amqtask.app.schedule_log._ANSWER", 0.3)
                with pytest.raises(BrokerUnavailable):
                    app.schedules.list()
            assert app.control.ping(timeout=0.3) == []
        with beating(app) as beat:
            wait_for(lambda: leads(beat))
            assert app.schedules.list() == []
            wait_for(lambda: app.control.ping(timeout=0.3))
    assert told(caplog, "A message for the scheduler is left out")


def test_the_ends_of_runs_are_believed_if_a_worker_has_signed_them(vhost_url, caplog):
    work = {"schedule": 0.1, "overlap": "skip"}
    schedule = {"one": {"task": "once", **work}, "two": {"task": chain(Signature("once"), Signature("once")), **work}}
    with new_app(vhost_url, schedule, **SIGNED) as app, beating(app) as beat:
        app.task(name="once")(lambda *_: None)
        with working(app):
            wait_for(lambda: all(beat.leader.state.marks[name].runs > 1 for name in schedule))
    assert not told(caplog, "is left out")


def test_schedules_are_changed_by_holders_of_a_key(vhost_url, caplog):
    app, stranger = new_app(vhost_url, **SIGNED), new_app(vhost_url)
    with app, stranger, beating(app) as beat:
        wait_for(lambda: leads(beat))
        stranger.schedules.add("forged", "echo", 0.1)
        app.schedules.add("signed", "echo", 0.1)
        wait_for(lambda: beat.pulse.sent_count)
        assert [one.name for one in app.schedules.list()] == ["signed"]
    assert len(told(caplog, "A message for the scheduler is left out")) == 1
    assert not told(caplog, "not its own")
    with app, stranger:
        stranger.schedules.add("forged", "echo", 0.1)
        assert [one.name for one in app.schedules.list()] == ["signed"]
