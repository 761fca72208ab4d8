"""Who waits for tokens of a limit, whose turn it is, and what becomes of tokens that are not used."""

from __future__ import annotations

import pytest
from limit_parts import TokensStub, seat
from waiting import wait_for
from worker_messages import delivery

from amqtask import Limit, clock
from amqtask.broker.pika_driver import new_loop
from amqtask.tasks.limits import Rate
from amqtask.worker.limits.permits import RENEW, Permits
from amqtask.worker.limits.shared_rate import SharedRate


class Bench:
    """A turnstile on a loop of its own; ``forward`` are those it has called."""

    def __init__(self, make):
        self.loop, self.forward = new_loop(), []
        self.stile = make(self.loop, self.forward.append)
        self.tokens = self.stile.tokens = TokensStub()

    def grant(self):
        made = seat()
        self.stile.granted(made)
        return made


@pytest.fixture
def rate():
    bench = Bench(lambda loop, readmit: SharedRate(loop, Rate(10), readmit, lambda: 4))
    yield bench
    bench.loop.close()


@pytest.fixture
def permits():
    bench = Bench(lambda loop, readmit: Permits(loop, Limit(2), readmit, lambda: 4))
    yield bench
    bench.loop.close()


def test_a_token_is_waited_for_by_as_many_as_are_parked_and_have_slots(rate):
    for wanted in (1, 2, 3, 4, 4):
        assert not rate.stile.passes(delivery())
        assert rate.tokens.wanted == wanted


def test_tokens_call_forward_in_the_order_of_priority_and_arrival_and_are_spent_at_the_start(rate):
    deliveries = [delivery(priority=priority) for priority in (0, 5, 0, 5)]
    for one in reversed(deliveries):
        rate.stile.passes(one)
    seats = [rate.grant() for _ in deliveries]
    assert rate.forward == [deliveries[1], deliveries[3], deliveries[0], deliveries[2]]
    assert rate.stile.passes(deliveries[1])
    assert rate.tokens.released == [(seats[0], "spent")]


def test_nobody_overtakes_who_was_called_forward(rate):
    first, second = delivery(), delivery()
    rate.stile.passes(first)
    rate.grant()
    assert not rate.stile.passes(second)
    assert rate.stile.passes(first)


def test_a_token_that_finds_nobody_goes_back(rate):
    made = rate.grant()
    assert rate.tokens.released == [(made, "returned")]


def test_a_token_that_nobody_comes_to_use_goes_back_and_none_is_wanted_until_there_is_a_slot(rate):
    first, second = delivery(), delivery()
    rate.stile.passes(first)
    rate.stile.passes(second)
    made = rate.grant()
    wait_for(lambda: rate.loop.turn(0.05) or rate.tokens.released)
    assert rate.tokens.released == [(made, "returned")]
    assert rate.tokens.wanted == 0
    assert not rate.stile.passes(first)
    assert rate.tokens.wanted == 2
    rate.grant()
    assert rate.forward == [first, first]


def test_what_is_revoked_while_it_waits_for_a_slot_returns_its_token(rate):
    first = delivery()
    rate.stile.passes(first)
    made = rate.grant()
    rate.stile.leave(first.key)
    rate.stile.leave(first.key)
    assert rate.tokens.released == [(made, "returned")]


def test_clearing_returns_what_is_parked_and_tokens_of_those_called_forward(rate):
    first, second, third = delivery(), delivery(), delivery()
    for one in (first, second, third):
        rate.stile.passes(one)
    made = rate.grant()
    assert rate.stile.clear() == [second, third]
    assert rate.tokens.released == []  # the connection may be going
    rate.loop.turn(0)
    assert rate.tokens.released == [(made, "returned")]
    assert rate.tokens.wanted == 0
    assert rate.stile.idle


def test_who_lost_its_token_waits_again(rate):
    first = delivery()
    rate.stile.passes(first)
    rate.grant()
    rate.stile.lost()
    assert not rate.stile.passes(first)
    assert rate.tokens.wanted == 1


def test_a_permit_is_held_until_the_task_has_ended(permits):
    first = delivery()
    permits.stile.passes(first)
    made = permits.grant()
    assert permits.stile.passes(first)
    assert permits.stile.passes(first)  # asked again, because another limit held it up
    permits.stile.started(first.key)
    assert permits.tokens.released == []
    permits.stile.leave(first.key)
    assert permits.tokens.released == [(made, "returned")]
    assert permits.stile.idle


def test_what_runs_without_a_permit_gets_the_next_one(permits):
    running, waiting = delivery(), delivery()
    permits.stile.passes(running)
    permits.grant()
    permits.stile.passes(running)
    permits.stile.started(running.key)
    permits.stile.lost()
    assert permits.tokens.wanted == 1
    permits.stile.passes(waiting)
    assert permits.tokens.wanted == 2
    made = permits.grant()
    assert permits.forward == [running]
    assert permits.tokens.wanted == 1
    permits.stile.leave(running.key)
    assert permits.tokens.released == [(made, "returned")]


def test_a_permit_that_is_held_for_long_is_taken_anew(permits):
    first, second = delivery(), delivery()
    seats = []
    for one in (first, second):
        permits.stile.passes(one)
        seats.append(permits.grant())
        permits.stile.passes(one)
    seats[0].since, seats[1].since = clock.monotonic() - RENEW - 1, clock.monotonic()
    permits.stile._renew()
    assert permits.tokens.released == [(seats[0], "renewed")]


def test_clearing_keeps_the_permits_of_what_runs(permits):
    running, held_up = delivery(), delivery()
    seats = []
    for one in (running, held_up):
        permits.stile.passes(one)
        seats.append(permits.grant())
        permits.stile.passes(one)
    permits.stile.started(running.key)
    permits.stile.clear()
    permits.loop.turn(0)
    assert permits.tokens.released == [(seats[1], "returned")]
    assert not permits.stile.idle
