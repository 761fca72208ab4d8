"""Limited tasks in a worker that has other work: they get their turn, and a pause leaves no limit held up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from limit_parts import TokensStub, app_with, seat
from waiting import wait_for
from worker_messages import delivery

from amqtask.broker.pika_driver import new_loop
from amqtask.execution.job import Kind, Outcome
from amqtask.topology.declarations import Queue
from amqtask.worker.control.pausing import Pausing
from amqtask.worker.custody.custody import Custody
from amqtask.worker.deliveries.outcome import Effects
from amqtask.worker.deliveries.ready import Ready
from amqtask.worker.deliveries.recent import Recent
from amqtask.worker.limits.concurrency import ConcurrencyLimits
from amqtask.worker.limits.gate import LimitGate
from amqtask.worker.limits.rate import RateLimits


class Bench:
    """A custody with one slot, limits and pauses; tokens, the pool and the broker are in the hands of the test."""

    def __init__(self, **tasks):
        self.loop, self.started, self.back, self.stiles = new_loop(), [], [], []
        pool = SimpleNamespace(
            free=lambda: 1 - len(self.custody.running),
            submit=lambda job: self.started.append(job.key),
            flush=lambda: None,
        )
        self.custody = custody = Custody(
            self.loop,
            pool,
            ready=Ready({"q": 1, "other": 1}, "fair"),
            recent=Recent(100),
            effects=Effects(Queue, "w@h", [], 3),
            acks_early=(),
            observe=lambda _: None,
            lost_max=3,
        )
        custody.settler = SimpleNamespace(settle=lambda delivery, *_: custody.settled(delivery))
        custody.open(
            SimpleNamespace(
                is_open=True, basic_acks=lambda _: None, basic_nack=lambda tag, requeue: self.back.append(tag)
            )
        )
        app = app_with(**tasks)
        host = SimpleNamespace(
            loop=self.loop, readmit=custody.readmit, slots=lambda: 1, provide=self._provide, reserve=custody.reserve
        )
        gate = LimitGate(RateLimits(app.tasks, app.settings, host), ConcurrencyLimits(app.tasks, host), lambda *_: None)
        consumers = SimpleNamespace(stop=lambda queue, reason, then: then(), go_on=lambda queue, reason: None, names=[])
        publisher = SimpleNamespace(declare=lambda *_: None)
        self.pausing = Pausing(
            SimpleNamespace(custody=custody, consumers=consumers, publisher=publisher, loop=self.loop, connection=None)
        )
        custody.gates += [self.pausing, gate]
        custody.observers.append(gate)

    def _provide(self, stile, layout):
        stile.tokens, stile.reserve = TokensStub(), self.custody.reserve
        self.stiles.append(stile)

    def arrive(self, task, queue="q"):
        made = delivery(queue, task=task)
        method = SimpleNamespace(delivery_tag=made.key, exchange="", routing_key=queue, redelivered=False)
        self.custody.arrive(queue, method, made.properties, made.body)
        self.turn()
        return next(one for one in self.everything() if one.id == made.id)

    def everything(self):
        gates = self.custody.gates[1]
        return [*self.custody.running, *self.custody.waiting, *gates.kept, *self.pausing._kept]

    def turn(self):
        for _ in range(3):
            self.loop.turn(0)

    def end(self):
        (running,) = self.custody.running
        self.custody.done([Outcome(running.key, Kind.SUCCESS, 1.0)])
        self.turn()


@pytest.fixture
def bench():
    made = []

    def make(**tasks):
        made.append(Bench(**tasks))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()


def test_a_limited_task_gets_its_turn_in_a_worker_that_always_has_others(bench):
    one = bench(few={"max_concurrency": 1}, plain={})
    one.arrive("plain")
    limited = one.arrive("few", "other")
    for queue in ("q", "other") * 5:
        one.arrive("plain", queue)
    while not one.stiles:
        one.end()  # until it is asked about, and has to wait for a permit, so another one starts
    (stile,) = one.stiles
    stile.granted(seat())
    wait_for(lambda: one.loop.turn(0.05) or stile.tokens.released)  # no slot comes for as long as a token waits
    for _ in range(3):
        if not stile.tokens.wanted:
            one.end()
    stile.granted(seat())
    returned = len(stile.tokens.released)
    wait_for(lambda: one.loop.turn(0.05) or limited in one.custody.running or len(stile.tokens.released) > returned)
    assert limited.key in one.started
    assert len(one.custody.waiting) > 5


def test_a_slot_is_not_left_free_for_long(bench):
    one = bench(few={"max_concurrency": 1}, plain={})
    one.arrive("plain")
    one.arrive("few")
    for _ in range(3):
        one.arrive("plain")
    one.end()
    (stile,) = one.stiles
    stile.granted(seat())
    wait_for(lambda: one.loop.turn(0.05) or stile.tokens.released)
    one.end()
    assert len(one.started) == 2, "a slot waits for the permit, which does not come"
    wait_for(lambda: one.loop.turn(0.05) or len(one.started) == 3)


@pytest.mark.parametrize("options", [{"rate_limit": "20/s"}, {"max_concurrency": 1}], ids=["rate", "permits"])
def test_a_pause_leaves_no_limit_held_up(bench, options):
    one = bench(slow=options, plain={})
    one.arrive("plain", "other")
    called = [one.arrive("slow") for _ in range(3)]
    while any(each in one.custody.waiting for each in called):
        one.end()
    one.arrive("plain", "other")
    for stile in one.stiles:
        stile.granted(seat())
    # called forward, and there is no slot
    wait_for(lambda: one.loop.turn(0.01) or any(each in one.custody.waiting for each in called))
    one.pausing.pause("q")
    one.turn()
    assert one.back
    later = one.arrive("slow", "other")
    for _ in range(100):
        if later.key in one.started:
            break
        one.loop.turn(0.01)
        for stile in one.stiles:
            if stile.tokens.wanted:
                stile.granted(seat())
        if one.custody.running:
            one.end()
    assert later.key in one.started
    assert not [each for each in one.everything() if each.queue == "q"], "all of them went back"
