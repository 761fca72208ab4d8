"""Counting a member in its chord's queue: what is done when that is gone, or away, or takes no such message."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from waiting import wait_for

from amqtask import Amqtask
from amqtask.broker.pika_driver import new_loop
from amqtask.errors import MessageTooLarge, QueueFull, Unroutable
from amqtask.execution.chord_bodies import ChordBodies
from amqtask.execution.job import Begin
from amqtask.results.base import Part
from amqtask.wire.signing import Signer
from amqtask.worker.chords import counting, looks
from amqtask.worker.chords.beginnings import Beginnings
from amqtask.worker.chords.body import BodySender
from amqtask.worker.chords.counting import ChordCounter
from amqtask.worker.chords.looks import ChordLooks
from amqtask.worker.chords.messages import ChordMessages
from amqtask.worker.followups.patient import Patient
from amqtask.worker.followups.storing import Storing

QUEUE = "amqtask.chord.g"
GONE = f"NOT_FOUND - no queue '{QUEUE}' in vhost '/'"
AWAY = [
    f"NOT_FOUND - home node 'rabbit@b' of durable queue '{QUEUE}' in vhost '/' is down or inaccessible",
    f"NOT_FOUND - queue '{QUEUE}' in vhost '/' process is stopped by supervisor",
    f"NOT_FOUND - failed to perform operation on queue '{QUEUE}' in vhost '/' due to timeout",
]
"""What RabbitMQ says of a queue whose node is restarted or killed."""

SILENCE = None
"""What it says for a minute, when the node was killed."""

BODY = {"task": "body", "options": {"task_id": "b", "amqtask_chord": {"queue": QUEUE, "size": 2, "deadline": 2e9}}}
PART = Part(BODY, "g", 0, "member", "SUCCESS", b'[1, "member", "SUCCESS", 1]')


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    for module, name in ((looks, "PAUSE"), (looks, "_REFUSED_PAUSE"), (counting, "PAUSE")):
        monkeypatch.setattr(module, name, 0.001)


@pytest.fixture
def loop():
    made = new_loop()
    yield made
    made.close()


class Broker:
    """Answers passive declares as ``says`` has it for the queue: how many are ready, or why the channel is closed; a
    list is used up first."""

    def __init__(self, loop, **says):
        self.loop, self.asked = loop, []
        self.says = {QUEUE: says.pop("chord", 0), **says}

    def open_channel(self, on_open, on_closed):
        channel = SimpleNamespace(is_open=True, close=lambda: on_closed(0, "by us"))

        def queue_declare(queue, passive, callback):
            assert passive
            self.asked.append(queue)
            said = self.says[queue]
            if isinstance(said, list):
                said = said.pop(0) if len(said) > 1 else said[0]
            if said is not SILENCE:
                self.loop.call_later(0, lambda: answer(said, callback))

        def answer(said, callback):
            if isinstance(said, int):
                callback(SimpleNamespace(method=SimpleNamespace(message_count=said)))
            else:
                channel.is_open = False
                on_closed(404, said)

        channel.queue_declare = queue_declare
        self.loop.call_later(0, lambda: on_open(channel))


def until(loop, condition):
    def turned():
        loop.turn(0.001)
        return condition()

    return wait_for(turned, interval=0)


@pytest.mark.parametrize("text", AWAY, ids=["down", "stopped", "timeout"])
def test_a_queue_that_is_away_with_its_node_is_asked_for_until_it_is_back(loop, text):
    broker, answers = Broker(loop, chord=[text, text, 3], other=1), []
    chord_looks = ChordLooks(loop, lambda: broker)
    chord_looks.look(QUEUE, lambda ready: answers.append(("chord", ready)))
    chord_looks.look("other", lambda ready: answers.append(("other", ready)))
    until(loop, lambda: len(answers) == 2)
    assert answers == [("other", 1), ("chord", 3)], "nobody waits for it but its own chord"


def test_a_broker_that_is_silent_about_one_queue_answers_for_the_others(loop):
    broker, answers = Broker(loop, chord=[SILENCE, AWAY[2], 3], other=1), []
    chord_looks = ChordLooks(loop, lambda: broker, patience=0.01)
    chord_looks.look(QUEUE, lambda ready: answers.append(("chord", ready)))
    chord_looks.look("other", lambda ready: answers.append(("other", ready)))
    until(loop, lambda: len(answers) == 2)
    chord_looks.look("other", lambda ready: answers.append(("again", ready)))
    until(loop, lambda: len(answers) == 3)
    assert answers == [("other", 1), ("chord", 3), ("again", 1)]


def test_a_queue_that_is_gone_is_told_at_once(loop):
    broker, answers = Broker(loop, chord=GONE), []
    ChordLooks(loop, lambda: broker).look(QUEUE, answers.append)
    until(loop, lambda: answers)
    assert (answers, broker.asked) == ([None], [QUEUE])


class Bench:
    """Counts one member; ``errors`` are what the broker says of each completion, in turn."""

    def __init__(self, loop, broker, errors):
        self.loop, self.errors, self.published, self.ended = loop, errors, [], []
        app = Amqtask("counting", broker="amqp://nobody@127.0.0.1:1/")
        self.storing = Storing(loop, None)
        outbox = SimpleNamespace(publish=self.publish, declared=lambda _: False)
        patient = Patient(loop, outbox, 1.0)
        self.chords = ChordCounter(
            loop,
            lambda: broker,
            patient=patient,
            storing=self.storing,
            messages=ChordMessages(Signer(app.settings)),
            backend=None,
            bodies=BodySender(self.storing, SimpleNamespace(), ChordBodies(app, "here")),
            polled=False,
        )

    def publish(self, message, _timeout, done):
        self.published.append(json.loads(message.body)[2] if message.body else "more")
        error = self.errors.pop(0) if self.errors else None
        self.loop.call_later(0, lambda: done(error))

    def count(self):
        self.chords.count(PART, "a member", lambda: self.ended.append(True))
        until(self.loop, lambda: self.ended)
        self.storing.stop()


def test_a_member_is_let_go_when_the_queue_of_its_chord_is_gone(loop):
    bench = Bench(loop, Broker(loop, chord=GONE), [Unroutable("no queue")])
    bench.count()
    assert bench.published == ["SUCCESS"]


def test_a_member_is_counted_when_the_queue_of_its_chord_is_back(loop):
    """RabbitMQ returns what is sent to a queue that is away with its node, or refuses it."""
    broker = Broker(loop, chord=[AWAY[0], 0])
    bench = Bench(loop, broker, [Unroutable("no queue"), Unroutable("no queue"), QueueFull("nack")])
    bench.count()
    assert bench.published == ["SUCCESS"] * 4
    assert len(broker.asked) == 4, "twice while it was away, once as it was back, and once for the chord"


def test_a_result_that_the_broker_takes_for_too_large_counts_as_a_failure(loop):
    bench = Bench(loop, Broker(loop), [MessageTooLarge("20 MB")])
    bench.count()
    assert bench.published == ["SUCCESS", "FAILURE"]


@pytest.mark.parametrize(("says", "sent"), [([AWAY[0], 0], 2), (GONE, 1)], ids=["away", "gone"])
def test_new_members_wait_for_the_queue_of_their_chord_unless_that_is_over(loop, says, sent):
    """Sent before their chord knows of them, they would be left out."""
    bench = Bench(loop, Broker(loop, chord=says), [Unroutable("no queue")])
    parts = {"storing": bench.storing, "messages": bench.chords.messages, "backend": None}
    beginnings = Beginnings(loop, None, leave=bench.chords.leave, **parts)
    beginnings.begin(Begin("g", 1, more=True), "k", "a member", lambda: bench.ended.append(True))
    until(loop, lambda: bench.ended)
    assert bench.published == ["more"] * sent
