"""Messages that may have killed their worker: marked one after the other, and never there twice."""

from __future__ import annotations

import pytest
from waiting import wait_for
from worker_messages import delivery

from amqtask.broker.pika_driver import new_loop
from amqtask.topology.declarations import Queue
from amqtask.worker.custody import suspects as module
from amqtask.worker.custody.suspects import Suspects
from amqtask.worker.deliveries.outcome import WORKER_LOST, Effects


class Bench:
    """Suspects, and what their keeper was asked: copies (their message ids), dead letters, those to be judged again."""

    def __init__(self):
        self.loop = new_loop()
        self.copies, self.dead, self.again = [], [], []
        self.suspects = Suspects(self.loop, Effects(Queue, "w@h", [], 3), 3, self)
        self._keys = iter(range(100))

    def settle_unstarted(self, _delivery, effect):
        self.copies.append(effect.message.properties.message_id)

    def lose_unstarted(self, delivery, effect, _reason):
        self.dead.append((delivery.key, effect.dead))

    def retry(self, deliveries):
        self.again.append([one.key for one in deliveries])

    def comes(self, *, lost=1, message_id=None):
        """A message that was lost so often comes again, from a classic queue."""
        made = delivery("q", redelivered=True, message_id=message_id, **{"x-amqtask-lost": lost})
        made.key = next(self._keys)
        return made

    def turns_until(self, condition):
        wait_for(lambda: (self.loop.turn(0), condition())[1])


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.loop.close()


def test_one_with_chances_left_is_marked_at_once(bench):
    first, second = bench.comes(lost=0), bench.comes(lost=0)
    assert not bench.suspects.fit(first)
    assert not bench.suspects.fit(second)
    assert len(bench.copies) == 2


def test_one_that_was_marked_often_enough_is_dead(bench):
    assert not bench.suspects.fit(bench.comes(lost=2))
    assert (bench.copies, bench.dead) == ([], [(0, WORKER_LOST)])


def test_the_last_chance_is_given_to_one_at_a_time(bench):
    for suspect in (bench.comes(), bench.comes(), bench.comes()):
        assert not bench.suspects.fit(suspect)
    (copy,) = bench.copies
    bench.suspects.settled(bench.comes(message_id="another"))
    assert bench.again == []
    bench.suspects.settled(bench.comes(message_id=copy))
    assert bench.again == [[1, 2]]


def test_a_trial_that_takes_long_keeps_nobody_waiting(bench, monkeypatch):
    monkeypatch.setattr(module, "_TRIAL", 0.01)
    for suspect in (bench.comes(), bench.comes()):
        bench.suspects.fit(suspect)
    bench.turns_until(lambda: bench.again)
    assert bench.again == [[1]]


def test_a_copy_is_held_until_the_ack_of_its_original_is_on_its_way(bench):
    original = bench.comes(lost=0)
    bench.suspects.fit(original)
    copy = bench.comes(message_id=bench.copies[0])
    assert bench.suspects.is_early_copy(copy)
    bench.suspects.settled(original)
    assert bench.suspects.is_early_copy(copy)
    bench.turns_until(lambda: bench.again)
    assert not bench.suspects.is_early_copy(copy)


def test_those_that_wait_can_be_taken_back(bench):
    for suspect in (bench.comes(), bench.comes()):
        bench.suspects.fit(suspect)
    assert [one.key for one in bench.suspects.clear()] == [1]
    assert not bench.suspects.fit(bench.comes())
    assert len(bench.copies) == 2, "nobody is on trial any more"
