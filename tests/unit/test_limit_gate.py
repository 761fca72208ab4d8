"""All limits of tasks at the gate of a worker: what they hold back, in which order, and for how long."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from limit_parts import TokensStub, app_with, seat
from waiting import wait_for
from worker_messages import delivery

from amqtask import ConfigError, Limit
from amqtask.broker.pika_driver import new_loop
from amqtask.tasks.limits import LIMIT_KEY, Rate
from amqtask.worker.limits.concurrency import ConcurrencyLimits
from amqtask.worker.limits.gate import LimitGate
from amqtask.worker.limits.layout import permit_layout, rate_layout
from amqtask.worker.limits.rate import RateLimits
from amqtask.worker.limits.room import MORE_MAX, Room


class Gated:
    """A gate over an app's limits; tokens are in the hands of the test."""

    def __init__(self, app):
        self.loop, self.forward, self.parked, self.tokens = new_loop(), [], [], []
        host = SimpleNamespace(loop=self.loop, readmit=self.forward.append, slots=lambda: 4, provide=self._provide)
        self.rates = RateLimits(app.tasks, app.settings, host)
        self.concurrency = ConcurrencyLimits(app.tasks, host)
        self.gate = LimitGate(self.rates, self.concurrency, lambda *told: self.parked.append(told))

    def _provide(self, stile, layout):
        stile.tokens = TokensStub()
        self.tokens.append((layout, stile))

    def come_forward(self, count):
        return wait_for(lambda: self.loop.turn(0.01) or (len(self.forward) >= count and self.forward))


@pytest.fixture
def gated():
    made = []

    def make(**tasks):
        made.append(Gated(app_with(**tasks)))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()


def test_what_has_no_limit_passes(gated):
    gate = gated(plain={}).gate
    assert gate.admit(delivery(task="plain"))
    assert gate.admit(delivery(task=None))


def test_a_rate_lets_one_through_at_a_time_in_order(gated):
    bench = gated(work={"rate_limit": "20/s"})
    deliveries = [delivery(task="work") for _ in range(4)]
    assert [bench.gate.admit(one) for one in deliveries] == [True, False, False, False]
    assert bench.parked[-1] == ("q", 3)
    assert list(bench.gate.kept) == deliveries[1:]
    for count in (1, 2, 3):
        assert bench.come_forward(count)[-1] is deliveries[count]
        assert bench.gate.admit(deliveries[count])
    assert bench.parked[-1] == ("q", 0)


@pytest.mark.parametrize("limit", [{"rate_limit": "20/s"}, {"max_concurrency": 1}], ids=["rate", "permits"])
def test_what_has_expired_needs_no_turn_and_leaves_its_own_to_the_next(gated, limit):
    bench = gated(work=limit)
    past, garbage = "2020-01-01T00:00:00+00:00", [7]
    first, second, third = (delivery(task="work", expires=said) for said in (garbage, None, "2999-01-01"))
    turns = [bench.gate.admit(one) for one in (first, second, third)]
    assert turns[1:] == [False, False]
    assert bench.gate.admit(delivery(task="work", expires=past))
    for _, stile in bench.tokens:
        stile.granted(seat())
        bench.gate.admit(first)
        bench.gate.gone(first)
        stile.granted(seat())
    assert bench.come_forward(1)[-1] is second
    second.properties.headers["expires"] = past
    assert bench.gate.admit(second)
    for _, stile in bench.tokens:
        assert len(stile.tokens.released) == 2, "the permit that it was called with went back"
        stile.granted(seat())
    assert bench.come_forward(len(bench.forward) + (not bench.tokens))[-1] is third
    assert bench.gate.admit(third)


def test_a_slow_slot_makes_no_burst(gated):
    bench = gated(work={"rate_limit": "20/s"})
    first, second, third = (delivery(task="work") for _ in range(3))
    for one in (first, second, third):
        bench.gate.admit(one)
    bench.come_forward(1)
    assert not bench.loop.turn(0.2)
    assert bench.forward == [second]  # the third is not called before the second has gone
    assert not bench.gate.admit(third)


def test_a_rate_changes_at_run_time_and_goes_at_zero(gated):
    bench = gated(work={"rate_limit": "1/h"})
    first, second = delivery(task="work"), delivery(task="work")
    assert bench.gate.admit(first)
    assert not bench.gate.admit(second)
    assert bench.rates.text("work") == "1/h"
    bench.rates.set("work", 0)
    assert bench.forward == [second]
    assert bench.gate.admit(second)
    assert bench.rates.text("work") is None
    for wrong in ("often", "1" + 400 * "0", "0." + 400 * "0" + "1"):
        with pytest.raises(ConfigError):
            bench.rates.set("work", wrong)
    bench.rates.set("work", "5/m", "global")
    assert bench.rates.describe("work") == {"rate_limit": "5/m", "scope": "global", "parked": 0}


@pytest.mark.parametrize("wrong", ["often", "1" + 400 * "0"], ids=["no rate", "beyond all floats"])
def test_a_rate_that_is_none_leaves_what_waits_in_its_place(gated, wrong):
    bench = gated(work={"rate_limit": "20/s"})
    first, second = delivery(task="work"), delivery(task="work")
    bench.gate.admit(first)
    bench.gate.admit(second)
    with pytest.raises(ConfigError):
        bench.rates.set("work", wrong)
    assert bench.come_forward(1) == [second]


def test_the_default_rate_is_for_tasks_without_one_of_their_own(gated):
    bench = gated(task_default_rate_limit="1/h", plain={}, free={"rate_limit": 0}, own={"rate_limit": "2/h"})
    assert {name: bench.rates.text(name) for name in ("plain", "free", "own")} == {
        "plain": "1/h",
        "free": None,
        "own": "2/h",
    }


def test_a_default_rate_that_is_none_is_told_by_the_name_of_its_setting(gated):
    with pytest.raises(ConfigError, match="setting task_default_rate_limit: 'often' is not a rate"):
        gated(task_default_rate_limit="often", plain={})


def test_rates_can_be_disabled(gated):
    bench = gated(worker_disable_rate_limits=True, work={"rate_limit": "1/h"})
    assert all(bench.gate.admit(delivery(task="work")) for _ in range(5))


def test_each_key_has_permits_of_its_own_and_a_stranger_counts_for_the_empty_one(gated):
    bench = gated(work={"max_concurrency": Limit(1, key="tenant")})
    keys = ["a", "b", "a", 7, None]
    for key in keys:
        assert not bench.gate.admit(delivery(task="work", **{LIMIT_KEY: key}))
    names = [layout.tokens for layout, _ in bench.tokens]
    assert names == ["amqtask.limit.work.a.per", "amqtask.limit.work.b.per", "amqtask.limit.work..per"]
    assert bench.concurrency.describe("work")["keys"]["a"] == {"max_concurrency": 1, "running": 0, "parked": 2}


def test_a_permit_comes_before_the_rate_and_is_returned_when_the_task_has_ended(gated):
    bench = gated(work={"max_concurrency": 1, "rate_limit": "1/h"})
    first, second = delivery(task="work"), delivery(task="work")
    assert not bench.gate.admit(first)
    ((_, stile),) = bench.tokens
    made = seat()
    stile.granted(made)
    assert bench.gate.admit(first)
    bench.gate.started(first)
    bench.gate.admit(second)
    assert stile.tokens.released == []
    bench.gate.gone(first)
    assert stile.tokens.released == [(made, "returned")]
    assert bench.gate.clear() == [second]
    assert bench.parked[-1] == ("q", 0)


def test_the_queues_of_a_limit_say_what_it_is():
    layout = rate_layout("shop.mail", Rate(10, 1.0))
    cool, tokens = layout.steps
    assert (tokens.name, tokens.arguments["x-max-length"]) == ("amqtask.limit.shop.mail.tok", 10)
    assert (cool.name, cool.arguments["x-message-ttl"]) == ("amqtask.limit.shop.mail.cool", 1000)
    assert permit_layout("t", "k", Limit(3)).steps[0].arguments["x-max-length"] == 3


def test_room_is_made_when_what_is_parked_fills_half_of_the_window_and_taken_back_later():
    loop, made = new_loop(), []
    consumers = SimpleNamespace(consumed={"q": 8}, make_room=lambda queue, more: made.append((queue, more)))
    room = Room(loop, consumers)
    for count in itertools.chain(range(1, 300), [0]):
        room.parked("q", count)
    loop.close()
    assert made == [("q", 8), ("q", 24), ("q", 56), ("q", 120), ("q", 248), ("q", MORE_MAX)]
