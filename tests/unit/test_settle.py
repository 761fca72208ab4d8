"""The order in which what follows from a task is stored, and what becomes of what can't be; without a broker."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from waiting import wait_for
from worker_messages import delivery

from amqtask.broker.pika_driver import new_loop
from amqtask.errors import AccessRefused, BackendError, MessageTooLarge, PublishTimeout, ResultTooLarge, Unroutable
from amqtask.execution.job import After, Begin, Kind, Outcome
from amqtask.results.base import Part, Record
from amqtask.topology.declarations import Queue
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.custody.counts import Counting
from amqtask.worker.custody.gates import Observer
from amqtask.worker.custody.settle import Settler
from amqtask.worker.deliveries.outcome import Effects
from amqtask.worker.followups import patient as patient_module
from amqtask.worker.followups.carrier import Carrier
from amqtask.worker.followups.losses import Losses
from amqtask.worker.followups.patient import Grace, Patient
from amqtask.worker.followups.storing import Storing

CALLBACK = Outgoing("", "callbacks", Properties(), b"[]")
DONE = Record("id", "SUCCESS", b"{}", reply_to="caller", correlation_id="c")
PART = Part({"task": "body", "options": {}}, "g", 0, "id", "SUCCESS", b"[]")


def refused(record, _error):
    """What is stored instead of it."""
    return record._replace(state="FAILURE")


class Bench:
    """A settler; ``events`` is what it did to the world, in order. Everything it asks for is answered at once, with
    the errors that ``errors`` holds for it, in turn."""

    def __init__(self, *, by_message=False):
        self.events: list[str] = []
        self.errors: dict[str, list[Exception]] = {}
        self.published: list[Outgoing] = []
        self.loop = new_loop()
        backend = SimpleNamespace(store=self._store)
        self.storing = Storing(self.loop, backend)
        self.patient = Patient(self.loop, SimpleNamespace(publish=self._publish, declared=lambda _: False), 1.0)
        carrier = Carrier(self.patient, self.storing, by_message=by_message, persistent=True, instead=refused)
        carrier.counter = SimpleNamespace(count=lambda part, who, done: self._event(f"count {part.group_index}", done))
        carrier.beginner = SimpleNamespace(begin=lambda begin, key, who, done: self._event("begin", done))
        self.lost: After | Exception = After()
        self.observers: list[Observer] = []
        losses = Losses(self.storing, self._followups())
        self.settler = Settler(self.patient, carrier, losses, self._settled, self.observers)
        self.effects = Effects(Queue, "w@h", [], 3)

    def _event(self, name, done):
        self.events.append(name)
        done()

    def _settled(self, delivery):
        self.events.append("settled")

    def _error(self, name):
        return self.errors[name].pop(0) if self.errors.get(name) else None

    def _publish(self, message, timeout, done):
        error = self._error(message.routing_key)
        self.events.append(f"{'fail' if error else 'publish'} {message.routing_key}")
        self.published.append(message)
        self.loop.call_later(0, lambda: done(error))

    def _store(self, records):
        error = self._error("store")
        self.events.append(f"{'fail' if error else 'store'} {' '.join(record.state for record in records)}")
        if error:
            raise error

    def _followups(self):
        def lost(job, kind, text, error):
            self.events.append(f"ask {kind.name}")
            if isinstance(self.lost, Exception):
                raise self.lost
            return self.lost

        return SimpleNamespace(lost=lost)

    def settle(self, kind, after=None, *, early=False, **outcome):
        made = delivery()
        made.early = early
        ended = Outcome(made.key, kind, after=after, **outcome)
        effect = self.effects.of(made, ended)
        for observer in self.observers:
            observer.ended(made, ended, effect)
        self.settler.settle(made, effect, kind)
        self.run()

    def run(self):
        def settled():
            self.loop.turn(0.01)
            return "settled" in self.events

        wait_for(settled, interval=0)
        assert self.events.count("settled") == 1
        assert len(self.settler) == 0


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(patient_module, "backoff", lambda _: 0.001)
    monkeypatch.setattr("amqtask.worker.followups.backlog.RETRY_FIRST", 0.001)
    monkeypatch.setattr("amqtask.worker.followups.carrier._GRACE", Grace(other=0.02, declared=0.02))
    monkeypatch.setattr("amqtask.worker.followups.absent._ASK", 0.0)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.storing.stop()
    made.loop.close()


@pytest.fixture
def rpc():
    made = Bench(by_message=True)
    yield made
    made.storing.stop()
    made.loop.close()


def test_task_without_anything_to_follow_is_settled_at_once(bench):
    made = delivery()
    bench.settler.settle(made, bench.effects.of(made, Outcome(made.key, Kind.SUCCESS)))
    assert bench.events == ["settled"]


def test_callbacks_are_confirmed_before_the_result_is_stored_and_the_chord_counted_last(bench):
    after = After((CALLBACK,), (DONE,), (PART,), (Begin("g", 2),))
    bench.settle(Kind.SUCCESS, after)
    assert bench.events == ["begin", "publish callbacks", "store SUCCESS", "count 0", "settled"]


def test_whatever_fails_is_repeated_until_it_is_stored(bench):
    bench.errors = {"callbacks": [PublishTimeout("slow")] * 3, "store": [BackendError("down")] * 3}
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,), (PART,)))
    assert bench.events[:4] == ["fail callbacks"] * 3 + ["publish callbacks"]
    assert bench.events[4:] == ["fail SUCCESS"] * 3 + ["store SUCCESS", "count 0", "settled"]


def test_failure_is_stored_before_its_dead_letter_is_sent(bench):
    failed = DONE._replace(state="FAILURE")
    bench.settle(Kind.FAILED, After(records=(failed,)), runtime=1.0)
    assert bench.events == ["store FAILURE", "publish q.dead", "settled"]


def test_dead_letter_of_a_task_that_was_acked_early_is_sent_before_anything_else(bench):
    bench.settle(Kind.FAILED, After(records=(DONE,)), early=True, runtime=1.0)
    assert bench.events == ["publish q.dead", "store SUCCESS", "settled"]


def test_answer_goes_to_the_callers_queue_with_its_correlation_id(rpc):
    rpc.settle(Kind.SUCCESS, After(records=(DONE,)))
    assert rpc.events == ["publish caller", "settled"]
    (message,) = rpc.published
    assert (message.exchange, message.body, message.properties.correlation_id) == ("", b"{}", "c")
    assert message.properties.delivery_mode == 2


def test_caller_that_is_gone_counts_as_answered(rpc):
    rpc.errors = {"caller": [Unroutable("gone")]}
    rpc.settle(Kind.SUCCESS, After(records=(DONE,), parts=(PART,)))
    assert rpc.events == ["fail caller", "count 0", "settled"]


def test_caller_that_wants_no_answer_gets_none(rpc):
    rpc.settle(Kind.SUCCESS, After(records=(DONE._replace(reply_to=None),)))
    assert rpc.events == ["settled"]


@pytest.mark.parametrize("error", [MessageTooLarge("1 GB"), Unroutable("no such queue"), AccessRefused("no right")])
def test_success_whose_callback_can_never_be_sent_is_a_failure_and_dead_lettered(bench, error):
    bench.errors = {"callbacks": [error] * 1000}
    bench.lost = After(records=(DONE._replace(state="FAILURE"),), parts=(PART,))
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,), (PART,)))
    tried = bench.events.count("fail callbacks")
    assert (tried == 1) == isinstance(error, MessageTooLarge)
    assert bench.events[tried:] == ["ask FAILED", "store FAILURE", "count 0", "publish q.dead", "settled"]


def test_end_that_proves_to_be_none_counts_as_a_failure(bench):
    counting = Counting()
    bench.observers.append(counting)
    for kind in (Kind.SUCCESS, Kind.IGNORED):
        bench.events.clear()
        bench.errors = {"callbacks": [MessageTooLarge("1 GB")]}
        bench.settle(kind, After((CALLBACK,)))
    bench.events.clear()
    bench.settle(Kind.SUCCESS, After((CALLBACK,)))
    bench.events.clear()
    bench.settle(Kind.RETRY, delay=1e300)  # longer than the broker can hold it
    assert counting.counts.ended == {Kind.FAILED: 3, Kind.SUCCESS: 1}
    assert counting.counts.dead == 3


def test_lost_task_that_cannot_be_sent_again_is_a_dead_letter_and_no_end(bench):
    counting = Counting()
    bench.observers.append(counting)
    bench.errors = {"q": [MessageTooLarge("headers")]}
    bench.settler.settle(made := delivery(), bench.effects.of_loss(made, "signal 9"))
    bench.run()
    assert (counting.counts.ended, counting.counts.dead) == ({}, 1)


def test_observers_hear_that_it_has_failed_before_it_is_settled_and_why(bench):
    class Noting(Observer):
        def unsendable(self, delivery, kind, effect):
            bench.events.append(f"told {Kind(kind).name} {effect.dead} {effect.lost.error[:2]}")

    bench.observers.append(Noting())
    bench.errors = {"callbacks": [MessageTooLarge("1 GB")]}
    bench.settle(Kind.SUCCESS, After((CALLBACK,)))
    assert bench.events[1:] == [
        "told SUCCESS unsendable ('amqtask.errors.MessageTooLarge', '1 GB')",
        "ask FAILED",
        "publish q.dead",
        "settled",
    ]


@pytest.mark.parametrize("ask", [0.0, 60.0])
def test_queue_that_was_waited_for_in_vain_is_not_waited_for_again(bench, caplog, monkeypatch, ask):
    bench.errors = {"callbacks": [Unroutable("no such queue")] * 1000}
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,)))
    assert sum("next attempt" in record.message for record in caplog.records) == 1
    bench.events.clear()
    caplog.clear()
    monkeypatch.setattr("amqtask.worker.followups.absent._ASK", ask)
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,)))
    asked = [] if ask else ["fail callbacks"]
    assert bench.events == [*asked, "ask FAILED", "publish q.dead", "settled"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_many_missing_queues_at_a_time_are_not_waited_for(bench, monkeypatch):
    monkeypatch.setattr("amqtask.worker.followups.absent._CROWD", 2)
    for number in range(3):
        bench.events.clear()
        name = f"gone-{number}"
        bench.errors = {name: [Unroutable("no such queue")] * 1000}
        bench.settle(Kind.SUCCESS, After((CALLBACK._replace(routing_key=name),)))
        tried = bench.events.count(f"fail {name}")
        assert (tried == 1) == (number == 2)
        assert bench.events[tried:] == ["ask FAILED", "publish q.dead", "settled"]


def test_queue_that_is_made_just_then_gets_its_callback(bench):
    bench.errors = {"callbacks": [Unroutable("no such queue")] * 2}
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,)))
    assert bench.events == ["fail callbacks"] * 2 + ["publish callbacks", "store SUCCESS", "settled"]


def test_right_to_publish_that_comes_back_in_time_costs_nothing(bench):
    bench.errors = {"callbacks": [AccessRefused("no right")] * 2}
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,)))
    assert bench.events == ["fail callbacks"] * 2 + ["publish callbacks", "store SUCCESS", "settled"]


def test_answer_that_may_not_be_published_is_tried_on(rpc):
    rpc.errors = {"caller": [AccessRefused("no right")] * 5}
    rpc.settle(Kind.SUCCESS, After((), (DONE,)))
    assert rpc.events == ["fail caller"] * 5 + ["publish caller", "settled"]


def test_revoked_task_whose_errback_can_never_be_sent_is_dead_lettered(bench):
    bench.errors = {"callbacks": [MessageTooLarge("1 GB")]}
    bench.settle(Kind.REVOKED, After((CALLBACK,), (DONE,)))
    assert bench.events == ["fail callbacks", "ask FAILED", "publish q.dead", "settled"]


def test_result_too_large_for_the_backend_is_a_failure(bench):
    bench.errors = {"store": [ResultTooLarge("20 MB")]}
    bench.lost = After(records=(DONE._replace(state="FAILURE"),))
    bench.settle(Kind.SUCCESS, After(records=(DONE,)))
    assert bench.events == ["fail SUCCESS", "ask FAILED", "store FAILURE", "publish q.dead", "settled"]


def test_result_too_large_of_a_task_whose_next_step_was_sent_fails_nothing_but_itself(bench):
    """Errbacks, later steps and a chord must not be told of a failure while the chain goes on."""
    bench.errors = {"store": [ResultTooLarge("2 MB")]}
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,), (PART,)))
    assert bench.events == ["publish callbacks", "fail SUCCESS", "store FAILURE", "count 0", "settled"]


def test_answer_too_large_of_a_task_whose_next_step_was_sent_fails_nothing_but_itself(rpc):
    rpc.errors = {"caller": [MessageTooLarge("20 MB")]}
    rpc.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,), (PART,)))
    assert rpc.events == ["publish callbacks", "fail caller", "publish caller", "count 0", "settled"]


def test_record_that_can_never_be_stored_after_the_next_step_was_sent_ends_as_a_dead_letter(bench):
    bench.errors = {"store": [ResultTooLarge("2 MB")] * 2}
    bench.settle(Kind.SUCCESS, After((CALLBACK,), (DONE,)))
    assert bench.events[1:] == ["fail SUCCESS", "fail FAILURE", "ask FAILED", "publish q.dead", "settled"]


def test_failure_that_can_never_be_told_does_not_hold_up_its_dead_letter(bench):
    bench.errors = {"callbacks": [MessageTooLarge("1 GB")]}
    bench.settle(Kind.FAILED, After((CALLBACK,), (DONE,), (PART,)), runtime=1.0)
    assert bench.events == ["fail callbacks", "store SUCCESS", "count 0", "publish q.dead", "settled"]


@pytest.mark.parametrize("kind", [Kind.UNKNOWN_TASK, Kind.UNDECODABLE, Kind.REFUSED, Kind.FAILED])
def test_end_that_no_executor_has_told_is_asked_for(bench, kind):
    bench.lost = After(records=(DONE._replace(state="DEAD"),))
    bench.settle(kind)
    assert bench.events == [f"ask {kind.name}", "store DEAD", "publish q.dead", "settled"]


def test_answer_that_is_an_exception_does_not_hold_up_the_dead_letter(bench):
    bench.lost = RuntimeError("hostile")
    bench.settle(Kind.UNDECODABLE)
    assert bench.events == ["ask UNDECODABLE", "publish q.dead", "settled"]


def test_failure_that_the_executor_has_told_of_is_not_asked_for(bench):
    bench.settle(Kind.FAILED, runtime=0.1)
    assert bench.events == ["publish q.dead", "settled"]


def test_retry_is_stored_before_the_next_attempt_can_run(bench):
    bench.settle(Kind.RETRY, After(records=(DONE._replace(state="RETRY"),)), delay=5.0)
    assert bench.events == ["store RETRY", "publish amqtask-delay.0.0.0.0.0.3.2", "settled"]


def test_next_attempt_that_can_never_be_sent_is_a_failure(bench):
    bench.errors = {"amqtask-delay.0.0.0.0.0.3.2": [MessageTooLarge("headers")]}
    bench.lost = After(records=(DONE._replace(state="FAILURE"),))
    bench.settle(Kind.RETRY, After(records=(DONE._replace(state="RETRY"),)), delay=5.0)
    assert bench.events[2:] == ["ask FAILED", "store FAILURE", "publish q.dead", "settled"]


def test_state_of_a_running_task_is_stored_before_its_result(bench):
    bench.settler.carrier.report([DONE._replace(state="STARTED", final=False)])
    bench.settle(Kind.SUCCESS, After(records=(DONE,)))
    assert bench.events in (["store STARTED", "store SUCCESS", "settled"], ["store STARTED SUCCESS", "settled"])
