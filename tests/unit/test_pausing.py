"""Which queues rest, by what the broker says and when it does not say anything."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from waiting import wait_for

from amqtask.broker.pika_driver import new_loop
from amqtask.errors import AccessRefused, BrokerBlocked, BrokerUnavailable, Unroutable
from amqtask.worker.control import pausing as module
from amqtask.worker.control.pausing import Pausing


class Bench:
    """Pauses of a worker; ``answers`` is what the broker says of each queue: None, an error, or nothing at all."""

    def __init__(self):
        self.loop, self.answers, self.asked = new_loop(), {}, []
        self.declared = None
        self.consumers = SimpleNamespace(names=["a", "b"], stopped=set())
        self.consumers.stop = lambda queue, _reason, then: self.consumers.stopped.add(queue) or then()
        self.consumers.go_on = lambda queue, _reason: self.consumers.stopped.discard(queue)
        custody = SimpleNamespace(draining=False, take_waiting=lambda _: [], schedule_turn=lambda: None)
        publisher = SimpleNamespace(
            declare=lambda _layout, done, _timeout: self.loop.call_later(0, lambda: done(self.declared)),
            publish=self._publish,
        )
        self.pausing = Pausing(
            SimpleNamespace(
                loop=self.loop, consumers=self.consumers, custody=custody, publisher=publisher, connection=object()
            )
        )

    def _publish(self, message, _timeout, done):
        queue = message.routing_key
        self.asked.append(queue)
        answer = self.answers.get(queue, Unroutable("nobody"))
        self.loop.call_later(0, lambda: done(answer))

    def connect(self):
        self.pausing.connected(object())
        self.turn()

    def turn(self, timeout=0):
        for _ in range(4):
            self.loop.turn(timeout)

    def paused(self):
        assert self.consumers.stopped == self.pausing.paused
        return sorted(self.pausing.paused)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN", 0.02)
    made = Bench()
    yield made
    made.loop.close()


def test_a_queue_that_was_resumed_without_this_worker_hearing_of_it_is_taken_up_again(bench):
    bench.answers["a"] = None
    bench.connect()
    assert bench.paused() == ["a"]
    bench.answers.clear()
    wait_for(lambda: bench.turn(0.01) or not bench.paused())
    asked = len(bench.asked)
    bench.turn(0.03)
    assert len(bench.asked) == asked, "nothing is paused, nothing is asked"


def test_a_pause_by_request_counts_as_lasting_when_the_broker_knows_of_it(bench):
    bench.connect()
    bench.answers["a"] = None
    bench.pausing.pause("a")
    bench.turn()
    bench.answers.clear()
    wait_for(lambda: bench.turn(0.01) or not bench.paused())


def test_a_pause_of_which_the_broker_does_not_know_goes_on(bench):
    bench.connect()
    bench.pausing.pause("a")
    bench.turn(0.03)
    assert bench.paused() == ["a"]
    bench.pausing.resume("a")
    assert bench.paused() == []


@pytest.mark.parametrize("trouble", [BrokerBlocked("memory"), BrokerUnavailable("gone")], ids=repr)
def test_a_paused_queue_stays_paused_while_the_broker_can_t_say(bench, trouble):
    bench.answers["a"] = None
    bench.connect()
    bench.answers = {"a": trouble, "b": trouble}
    bench.connect()
    assert bench.paused() == ["a"]
    bench.answers = {"b": None}
    wait_for(lambda: bench.turn(0.01) or bench.paused() == ["b"])


def test_nothing_rests_for_ever_where_it_may_not_be_asked(bench):
    bench.declared = AccessRefused("no")
    bench.connect()
    assert bench.paused() == []
    bench.turn(0.03)
    assert bench.asked == []
