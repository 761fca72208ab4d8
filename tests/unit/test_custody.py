"""When messages are acked, handed back and sent again, without a broker."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from waiting import wait_for
from worker_messages import delivery

from amqtask.broker.pika_driver import new_loop
from amqtask.execution.job import Kind, Outcome
from amqtask.topology.declarations import Queue
from amqtask.worker.custody.custody import Custody
from amqtask.worker.custody.gates import Observer, Observers
from amqtask.worker.custody.settle import Settler
from amqtask.worker.deliveries.outcome import Effects
from amqtask.worker.deliveries.ready import Ready
from amqtask.worker.deliveries.recent import Recent
from amqtask.worker.followups.carrier import Carrier
from amqtask.worker.followups.losses import Losses
from amqtask.worker.followups.patient import Patient
from amqtask.worker.followups.storing import Storing
from amqtask.worker.steps.middleware import Teller


class Bench:
    """A custody on a loop of its own; ``events`` is what it did to the world, in order."""

    def __init__(self, acks_early=()):
        self.events: list[tuple] = []
        self.confirms = []
        self.sent = []
        self.loop = new_loop()
        pool = SimpleNamespace(
            free=lambda: 2 - len(self.custody._running),
            submit=lambda job: self.events.append(("start", job.key)),
            flush=lambda: None,
        )
        outbox = SimpleNamespace(publish=self._publish)
        self.custody = Custody(
            self.loop,
            pool,
            ready=Ready({"q": 1}, "strict"),
            recent=Recent(100),
            effects=Effects(Queue, "w@h", [], 3),
            acks_early=acks_early,
            observe=lambda _: None,
            lost_max=3,
        )
        patient, storing = Patient(self.loop, outbox, 1.0), Storing(self.loop, None)
        carrier = Carrier(patient, storing, by_message=False, persistent=True, instead=lambda record, _: record)
        self.custody.settler = Settler(patient, carrier, Losses(storing, None), self.custody.settled)
        self.open()

    def open(self):
        self.custody.open(
            SimpleNamespace(
                is_open=True,
                basic_acks=lambda acks: self.events.extend(("ack", tag) for tag, _ in acks),
                basic_nack=lambda tag, requeue: self.events.append(("nack", tag)),
            )
        )

    def reconnect(self):
        self.custody.closed()
        self.open()

    def _publish(self, message, timeout, done):
        self.events.append(("publish", message.routing_key))
        self.sent.append(message.properties.message_id)
        self.confirms.append(done)

    def arrive(self, tag, *, redelivered=False, **headers):
        made = delivery("q", redelivered=redelivered, **headers)
        method = SimpleNamespace(delivery_tag=tag, exchange="", routing_key="q", redelivered=redelivered)
        self.custody.arrive("q", method, made.properties, made.body)

    def turn(self):
        self.loop.turn(0)
        self.loop.turn(0)
        events, self.events = self.events, []
        return events

    def turns_until(self, event):
        """What has happened when this has, too."""
        found = []
        wait_for(lambda: (found.extend(self.turn()), event in found)[1])
        return found


class Lost(Observer):
    """Notes what was lost."""

    def __init__(self):
        self.tags = []

    def lost(self, delivery, effect, reason):
        self.tags.append(delivery.tag)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.loop.close()


@pytest.fixture
def early():
    made = Bench(acks_early={"t"})
    yield made
    made.loop.close()


def test_message_that_is_acked_early_is_acked_before_its_task_can_start(early):
    early.arrive(1)
    early.arrive(2)
    assert early.turn() == [("ack", 1), ("start", 1), ("ack", 2), ("start", 2)]


def test_nothing_that_was_acked_early_runs_again_when_its_child_dies(early):
    early.arrive(1)
    early.arrive(2)
    early.turn()
    early.custody.lost([1], [2], "signal 9")
    assert early.turn() == [("publish", "q.dead"), ("publish", "q.dead")]


def test_what_a_dead_child_only_held_runs_again(bench):
    bench.arrive(1)
    bench.turn()
    bench.custody.lost([], [1], "signal 9")
    assert bench.turn() == [("start", 1)]


def test_message_that_waits_for_the_confirm_of_its_copy_is_not_sent_twice_by_a_cold_shutdown(bench):
    bench.arrive(1, redelivered=True, **{"x-delivery-count": 1})
    bench.custody.drain()  # returned before: goes back as a copy
    assert bench.custody.give_up() == []
    assert bench.turn() == [("publish", "q")]
    bench.confirms[0](None)
    assert bench.turn() == [("ack", 1)]


@pytest.mark.parametrize(
    ("redelivered", "headers", "expected"),
    [
        (False, {}, ("nack", 1)),
        (True, {}, ("publish", "q")),
        (False, {"x-amqtask-lost": 2}, ("publish", "q")),
    ],
)
def test_what_was_returned_or_suspected_before_is_not_returned_again(bench, redelivered, headers, expected):
    bench.arrive(1, redelivered=redelivered, **headers)
    bench.custody.drain()
    assert bench.turn() == [expected]


@pytest.mark.parametrize("times", [1, 2, 10])
@pytest.mark.parametrize("counted", [False, True])
def test_message_that_this_worker_only_held_when_its_connection_went_runs_when_it_comes_again(bench, times, counted):
    same = {"message_id": "m", "id": "task"}
    bench.arrive(1, **same)
    for number in range(1, times + 1):
        bench.reconnect()
        bench.arrive(1, redelivered=True, **same, **({"x-delivery-count": number} if counted else {}))
    assert [event for event, *_ in bench.turn()] == ["start"]


def test_message_that_was_elsewhere_meanwhile_is_a_suspect(bench):
    same = {"message_id": "m", "id": "task"}
    bench.arrive(1, **same, **{"x-delivery-count": 0})
    bench.reconnect()
    bench.arrive(1, redelivered=True, **same, **{"x-delivery-count": 2})
    assert bench.turn() == [("publish", "q")]


@pytest.mark.parametrize(("counting", "first"), [((), "publish"), (("q",), "start")])
def test_only_a_queue_that_counts_deliveries_is_believed_how_many_there_were(bench, counting, first):
    bench.custody.suspects.counting = counting
    bench.arrive(1, redelivered=True, **{"x-delivery-count": 1})
    assert bench.turn()[0][0] == first


def test_suspect_stays_one_when_the_connection_goes_before_it_is_marked(bench):
    same = {"message_id": "m", "id": "task", "redelivered": True}
    bench.arrive(1, **same)
    bench.reconnect()
    bench.arrive(1, **same)
    assert bench.turn() == [("publish", "q")]


def test_what_a_dead_child_only_held_on_a_connection_that_is_gone_runs_when_it_comes_again(bench):
    same = {"message_id": "m", "id": "task"}
    bench.arrive(1, **same)
    assert bench.turn() == [("start", 1)]
    bench.reconnect()
    bench.custody.lost([], [1], "signal 9")
    assert bench.turn() == []
    bench.arrive(1, redelivered=True, **same)
    assert [event for event, *_ in bench.turn()] == ["start"]


def test_what_comes_after_the_worker_has_begun_to_end_goes_back_at_once(bench):
    bench.custody.drain()
    bench.arrive(1)
    bench.arrive(2, redelivered=True)
    assert bench.turn() == [("nack", 1), ("publish", "q")]


def test_all_messages_that_are_handed_back_are_counted_and_none_that_was_acked_early(bench, early):
    for each in (bench, early):
        each.arrive(1)
        each.turn()
        each.arrive(2)
        each.custody.drain()
        each.custody.give_up()
    assert (bench.custody.counts.handed_back, early.custody.counts.handed_back) == (2, 1)


def test_nothing_is_returned_on_a_channel_that_is_closing(bench):
    bench.arrive(1)
    bench.custody.acks.channel.is_open = False
    bench.custody.drain()
    assert bench.turn() == []


def test_task_that_has_ended_is_not_handed_back_while_its_dead_letter_is_on_the_way(bench):
    bench.arrive(1)
    bench.arrive(2)
    bench.turn()
    bench.custody.done([Outcome(1, Kind.FAILED)])
    bench.custody.drain()
    assert [one.tag for one in bench.custody.give_up()] == [2]
    assert bench.turn() == [("publish", "q.dead"), ("nack", 2)]
    bench.confirms[0](None)
    assert bench.turn() == [("ack", 1)]


def test_dead_letter_is_told_of_once_though_its_message_comes_again_before_and_after_it_is_confirmed(bench):
    told, same = [], {"message_id": "m", "id": "task"}
    teller = Teller([SimpleNamespace(on_dead=told.append)])
    bench.custody.observers.append(teller)
    bench.arrive(1, **same)
    bench.turn()
    bench.custody.done([Outcome(1, Kind.FAILED, 0.1, "no")])
    bench.reconnect()
    bench.arrive(1, redelivered=True, **same)
    assert bench.turn() == [("publish", "q.dead")]
    bench.confirms.pop()(None)
    assert bench.turn() == [("ack", 1)]
    bench.reconnect()
    bench.arrive(1, redelivered=True, **same)
    assert bench.turn() == [("ack", 1)]
    teller.start()
    teller.finish()
    wait_for(lambda: not teller.alive)
    assert len(told) == 1


def test_an_observer_hears_of_all_that_it_has_a_method_for():
    heard = []

    class Hearing(Observer):
        def settled(self, delivery):
            heard.append(delivery)

    class Deaf(Observer):
        pass

    observers, told = Observers(), Deaf()
    told.settled = heard.append
    for each in (Hearing(), Deaf(), Hearing(), told):
        observers.append(each)
    for settled in observers.settled:
        settled("a delivery")
    assert heard == ["a delivery"] * 3
    assert (len(list(observers)), observers.received, observers.started, observers.ended) == (4, [], [], [])


LAST = {"redelivered": True, "x-amqtask-lost": 1}
"""Of a message from a classic queue that may kill one more worker."""


def test_suspects_take_their_last_chance_one_after_the_other(bench):
    bench.arrive(1, **LAST)
    bench.arrive(2, **LAST)
    assert bench.turn() == [("publish", "q")]
    bench.confirms.pop()(None)
    assert bench.turn() == [("ack", 1)]
    bench.arrive(3, message_id=bench.sent[0], **{"x-amqtask-lost": 2})
    bench.turns_until(("start", 3))
    bench.custody.done([Outcome(3, Kind.SUCCESS, 0.1)])
    assert ("publish", "q") in bench.turn()


def test_copy_of_a_suspect_starts_after_the_ack_of_its_original(bench):
    bench.arrive(1, redelivered=True)
    bench.turn()
    bench.arrive(2, message_id=bench.sent[0], **{"x-amqtask-lost": 1})
    assert bench.turn() == []
    bench.confirms.pop()(None)
    assert bench.turns_until(("start", 2)) == [("ack", 1), ("start", 2)]


def test_suspect_that_waits_for_its_last_chance_goes_back_at_a_shutdown(bench):
    bench.arrive(1, **LAST)
    bench.arrive(2, **LAST)
    bench.turn()
    bench.custody.drain()
    assert bench.turn() == [("publish", "q")]


def test_suspect_that_waits_for_its_last_chance_is_forgotten_with_its_connection(bench):
    bench.arrive(1, message_id="a", id="a", **LAST)
    bench.arrive(2, message_id="b", id="b", **LAST)
    bench.turn()
    bench.reconnect()
    bench.arrive(1, message_id="b", id="b", **LAST)
    assert bench.turn() == [("publish", "q")]


def test_message_that_has_killed_its_workers_is_dead_and_told_of_once(bench):
    told = Lost()
    bench.custody.observers.append(told)
    for _ in range(2):
        bench.arrive(1, message_id="m", id="task", redelivered=True, **{"x-amqtask-lost": 2})
        bench.turn()
        bench.reconnect()
    assert (len(bench.confirms), told.tags) == (1, [1])


def test_suspect_that_comes_again_before_its_copy_is_confirmed_is_not_copied_twice(bench):
    for _ in range(2):
        bench.arrive(1, message_id="m", id="task", redelivered=True)
        bench.turn()
        bench.reconnect()
    assert len(bench.sent) == 1
