"""Tokens of limits on a broker: made once however many want them, shared, taken anew, and never more or fewer."""

from __future__ import annotations

from typing import Any

import pytest
from publishing import OPTIONS

from amqtask import Limit, clock
from amqtask.broker.admin import Admin
from amqtask.broker.link import Link
from amqtask.broker.pika_driver import new_loop
from amqtask.broker.publisher import Publisher
from amqtask.broker.url import parse_urls
from amqtask.tasks.limits import Rate
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.limits import tokens
from amqtask.worker.limits.layout import TokenLayout, permit_layout, rate_layout
from amqtask.worker.limits.tokens import Seat, Tokens

pytestmark = pytest.mark.rabbitmq

PERMITS = permit_layout("t", None, Limit(3))


class Taker:
    """One worker's tokens, over connections of its own; all takers of a test share a loop."""

    def __init__(self, bench: Bench, layout: TokenLayout) -> None:
        loop = bench.loop
        self.link = Link(loop, bench.urls, OPTIONS, on_up=lambda _: None, on_down=lambda _: None)
        self.publisher = Publisher(loop, bench.urls, OPTIONS)
        self.tokens = Tokens(loop, lambda: self.link.connection, self.publisher, layout, self)
        self.held: list[Seat] = []
        self.times: list[float] = []
        self.losses = 0
        self.spends = 0
        """Tokens wanted at once, to be spent as they come."""
        self.link.start()
        self.publisher.start()

    def granted(self, seat: Seat) -> None:
        self.times.append(clock.monotonic())
        if self.spends:
            self.tokens.release(seat, self.spends, spend=True)
        else:
            self.held.append(seat)
            self.tokens.want(0)

    def lost(self) -> None:
        self.losses += 1
        self.held.clear()

    def give_back(self) -> None:
        self.tokens.release(self.held.pop(), 0, spend=False)


class Bench:
    def __init__(self, url: str) -> None:
        self.urls = parse_urls(url)
        self.loop = new_loop()
        self.admin = Admin(self.urls, OPTIONS)
        self.takers: list[Taker] = []

    def taker(self, layout: TokenLayout = PERMITS) -> Taker:
        self.takers.append(Taker(self, layout))
        return self.takers[-1]

    def until(self, condition: Any, timeout: float = 30.0) -> None:
        deadline = clock.monotonic() + timeout
        while not condition():
            assert clock.monotonic() < deadline, condition
            self.loop.turn(0.02)

    def for_(self, seconds: float) -> None:
        end = clock.monotonic() + seconds
        while (left := end - clock.monotonic()) > 0:
            self.loop.turn(left)

    def count(self, *queues: str) -> int:
        states = [self.admin.queue_state(queue) for queue in queues]
        return sum(state.ready for state in states if state is not None)

    def close(self) -> None:
        for taker in self.takers:
            taker.tokens.close()
            stopped: list[bool] = []
            taker.link.stop(lambda taker=taker, stopped=stopped: taker.publisher.stop(lambda: stopped.append(True)))
            self.until(lambda stopped=stopped: stopped)
        self.admin.close()
        self.loop.close()


@pytest.fixture
def bench(vhost_url, monkeypatch):
    monkeypatch.setattr(tokens, "_PAUSE", 0.3)
    monkeypatch.setattr(tokens, "_NO_CONNECTION", 0.02)
    made = Bench(vhost_url)
    yield made
    made.close()


def test_many_who_come_at_once_make_the_tokens_once(bench):
    takers = [bench.taker() for _ in range(5)]
    for taker in takers:
        taker.tokens.want(1)
    bench.until(lambda: sum(len(taker.held) for taker in takers) == 3)
    bench.for_(0.3)
    assert sum(len(taker.held) for taker in takers) == 3
    for taker in [taker for taker in takers if taker.held][:2]:
        taker.give_back()
    bench.until(lambda: sum(len(taker.times) for taker in takers) == 5)
    assert bench.count(PERMITS.tokens) == 0


def test_what_a_worker_died_in_adding_is_added_by_the_next(bench):
    for step in PERMITS.steps:
        bench.admin.declare(step)
    bench.admin.publish(Outgoing("", PERMITS.tokens, Properties(), b""))
    taker = bench.taker()
    taker.tokens.want(1)
    bench.until(lambda: taker.held)
    assert bench.count(PERMITS.tokens) == 2


def test_permits_that_are_too_many_are_gone_when_all_are_back(bench):
    takers = [bench.taker() for _ in range(3)]
    for taker in takers:
        taker.tokens.want(1)
    bench.until(lambda: all(taker.held for taker in takers))
    for _ in range(2):
        bench.admin.publish(Outgoing("", PERMITS.tokens, Properties(), b""))
    for taker in takers:
        taker.give_back()
    bench.until(lambda: bench.count(PERMITS.tokens) == 3)
    bench.for_(0.1)
    assert bench.count(PERMITS.tokens) == 3


def test_tokens_of_a_connection_that_is_cut_are_there_at_once(bench):
    first, second = bench.taker(), bench.taker()
    first.tokens.want(1)
    bench.until(lambda: first.held)
    connection = first.link.connection
    assert connection is not None
    connection.drop()
    bench.until(lambda: first.losses)
    second.tokens.want(1)
    bench.until(lambda: second.held)
    assert bench.count(PERMITS.tokens) == 2


def test_a_permit_that_is_taken_anew_goes_to_nobody_else(bench):
    layout = permit_layout("t", None, Limit(1))
    holder, waiting = bench.taker(layout), bench.taker(layout)
    holder.tokens.want(1)
    bench.until(lambda: holder.held)
    waiting.tokens.want(1)
    bench.for_(0.2)
    (seat,) = holder.held
    for _ in range(3):
        before = seat.since
        holder.tokens.renew(seat)
        bench.until(lambda before=before: seat.token and seat.since > before)
    bench.for_(0.2)
    assert not waiting.held
    holder.give_back()
    bench.until(lambda: waiting.held)


def test_a_task_that_ends_while_its_permit_is_taken_anew_returns_it(bench):
    layout = permit_layout("t", None, Limit(1))
    holder, waiting = bench.taker(layout), bench.taker(layout)
    holder.tokens.want(1)
    bench.until(lambda: holder.held)
    waiting.tokens.want(1)
    bench.for_(0.1)
    holder.tokens.renew(holder.held[0])
    holder.give_back()
    bench.until(lambda: waiting.held)


def test_a_rate_holds_over_all_who_take_as_fast_as_they_can(bench):
    layout = rate_layout("t", Rate(20, 0.5))
    takers = [bench.taker(layout) for _ in range(3)]
    for taker in takers:
        taker.spends = 2
        taker.tokens.want(2)
    bench.until(lambda: sum(len(taker.times) for taker in takers) >= 60 and all(taker.times for taker in takers))
    times = sorted(time for taker in takers for time in taker.times)
    # a token is noted before it is spent, so that however late this is, it can't be noted again sooner
    assert max(sum(1 for other in times if one <= other < one + 0.49) for one in times) <= 20
    for taker in takers:
        taker.tokens.close()
    bench.until(lambda: bench.count(layout.tokens) == 20)
    assert bench.count(layout.tokens, layout.cool) == 20


def test_another_rate_replaces_the_former_one_and_those_who_use_it_take_what_there_is(bench):
    former, new = rate_layout("t", Rate(5, 0.2)), rate_layout("t", Rate(3, 0.3))
    old = bench.taker(former)
    old.spends = 1
    old.tokens.want(1)
    bench.until(lambda: len(old.times) > 5)
    taker = bench.taker(new)
    taker.spends = 1
    taker.tokens.want(1)
    bench.until(lambda: taker.times)
    bench.until(lambda: old.losses)
    count = len(old.times)
    bench.until(lambda: len(old.times) > count)
    for each in (old, taker):
        each.tokens.close()
    bench.until(lambda: bench.count(new.tokens) == 3)
    bench.for_(0.4)
    assert bench.count(new.tokens, new.cool) == 3


def test_queues_that_somebody_deletes_are_made_again(bench):
    taker = bench.taker()
    taker.tokens.want(1)
    bench.until(lambda: taker.held)
    bench.admin.delete_queue(PERMITS.tokens)
    bench.until(lambda: taker.losses)
    taker.tokens.want(1)
    bench.until(lambda: taker.held)
    assert bench.count(PERMITS.tokens) == 2


def test_no_channel_is_kept_when_nothing_is_wanted(bench, monkeypatch):
    monkeypatch.setattr(tokens, "_IDLE", 0.05)
    taker = bench.taker()
    taker.tokens.want(1)
    bench.until(lambda: taker.held)
    taker.give_back()
    bench.until(lambda: taker.tokens._channel is None)
    bench.until(lambda: bench.count(PERMITS.tokens) == 3)
    assert bench.admin.queue_state(PERMITS.tokens).consumers == 0
    taker.tokens.want(1)
    bench.until(lambda: taker.held)
