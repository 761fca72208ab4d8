"""Permits and tokens whatever happens: nobody is lost, nobody overtakes, and each token has one use."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from worker_messages import delivery

from amqtask.broker.pika_driver import new_loop
from amqtask.tasks.limits import Limit, Rate
from amqtask.worker.limits.permits import Permits
from amqtask.worker.limits.shared_rate import SharedRate
from amqtask.worker.limits.tokens import Seat

LIMIT = 3


class Broker:
    """The tokens of one limit as a broker has them: free, waited for, held."""

    def __init__(self, free):
        self.free, self.wanted, self.held, self.spent, self.closed = free, 0, set(), 0, False

    def want(self, wanted):
        assert wanted >= 0
        self.wanted = wanted

    def release(self, seat, wanted, *, spend):
        self.wanted = wanted
        if seat in self.held:
            self.held.remove(seat)
            self.free += not spend
            self.spent += spend

    def renew(self, _seat):
        pass

    def close(self):
        self.closed = True


class Worker(RuleBasedStateMachine):
    """A worker whose deliveries all have the one limit. ``ready`` is what custody has to ask about."""

    def __init__(self):
        super().__init__()
        self.loop = new_loop()
        self.ready, self.running, self.all = [], [], 0
        self.stile = self.make()
        self.broker = self.stile.tokens = Broker(LIMIT)

    def make(self):
        return Permits(self.loop, Limit(LIMIT), self.ready.append, lambda: 2)

    def teardown(self):
        self.loop.close()

    @rule(priority=st.sampled_from([0, 0, 5]))
    def arrive(self, priority):
        self.all += 1
        self.ready.append(delivery(priority=priority))

    @precondition(lambda self: self.ready)
    @rule(index=st.integers(0, 5))
    def ask(self, index):
        one = self.ready.pop(index % len(self.ready))
        if self.stile.passes(one):
            self.start(one)

    def start(self, one):
        self.stile.started(one.key)
        self.running.append(one)

    @precondition(lambda self: self.broker.free and self.broker.wanted)
    @rule()
    def grant(self):
        self.broker.free -= 1
        self.broker.wanted -= 1
        seat = Seat("tag")
        seat.token = 1
        self.broker.held.add(seat)
        waiting = sorted((-one.priority, one.key) for _, _, one in self.stile._parked._heap)
        before = len(self.ready)
        self.stile.granted(seat)
        if len(self.ready) > before:
            assert (-self.ready[-1].priority, self.ready[-1].key) == waiting[0]

    @precondition(lambda self: self.running)
    @rule(index=st.integers(0, 5))
    def end(self, index):
        self.all -= 1
        self.stile.leave(self.running.pop(index % len(self.running)).key)

    @precondition(lambda self: self.ready)
    @rule(index=st.integers(0, 5))
    def revoke(self, index):
        self.all -= 1
        self.stile.leave(self.ready.pop(index % len(self.ready)).key)

    @precondition(lambda self: self.stile._called)
    @rule()
    def lose_patience(self):
        key, seat = next(iter(self.stile._called.items()))
        if seat is not None:
            self.stile._unused(key, seat)

    @rule()
    def lose_the_channel(self):
        self.broker.free += len(self.broker.held)
        self.broker.held.clear()
        self.stile.lost()

    @rule()
    def drain(self):
        gone = self.stile.clear()
        self.all -= len(gone) + len(self.ready)
        self.ready.clear()
        self.loop.turn(0)
        assert self.stile._wanted() == self.broker.wanted

    @invariant()
    def nobody_is_lost(self):
        assert len(self.ready) + len(self.running) + len(self.stile._parked) == self.all

    @invariant()
    def whoever_waits_is_waited_for(self):
        if self.stile._parked and not self.stile._called:
            assert self.broker.wanted > 0
        # else somebody is still to be asked, and will wake the others
        assert set(self.stile._called) <= {one.key for one in self.ready}

    @invariant()
    def every_token_is_somewhere_and_none_twice(self):
        mine = [seat for seat in self.stile._called.values() if seat is not None]
        mine += [seat for seat in getattr(self.stile, "_held", {}).values() if seat is not None]
        assert len(mine) == len(set(mine)) <= LIMIT
        assert set(mine) == self.broker.held
        assert self.broker.free + len(self.broker.held) + self.broker.spent == LIMIT


class RateWorker(Worker):
    """The same with a rate: a start spends its token, and the period gives it back."""

    def make(self):
        return SharedRate(self.loop, Rate(LIMIT), self.ready.append, lambda: 2)

    def start(self, one):
        self.running.append(one)

    @precondition(lambda self: self.broker.spent)
    @rule()
    def cool(self):
        self.broker.spent -= 1
        self.broker.free += 1


TestPermits = Worker.TestCase
TestRate = RateWorker.TestCase
TestPermits.settings = TestRate.settings = settings(max_examples=40, stateful_step_count=40)
