"""When acks are written, without a broker."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from amqtask.broker.pika_driver import new_loop
from amqtask.worker.deliveries.acks import Acks


class Bench:
    """The acks of a channel whose consumers may hold ``window`` messages; ``written`` is what went out."""

    def __init__(self, window):
        self.loop, self.written = new_loop(), []
        self.acks = Acks(self.loop)
        self.acks.window = lambda: window
        self.acks.settlements.open()
        self.acks.channel = SimpleNamespace(is_open=True, basic_acks=self.written.extend)

    def hold(self, *tags):
        for tag in tags:
            self.acks.settlements.delivered(tag)

    def finish(self, *tags):
        for tag in tags:
            self.acks.settlements.finish(self.acks.settlements.epoch, tag)


@pytest.fixture
def bench(request):
    made = Bench(getattr(request, "param", 16))
    yield made
    made.loop.close()


def test_ack_waits_for_others_while_the_broker_delivers_without_it(bench):
    bench.hold(1)
    bench.finish(1)
    bench.acks.write(all_now=False)
    bench.hold(2, 3)
    bench.finish(2)
    bench.acks.write(all_now=False)
    assert bench.written == []
    while not bench.written:
        bench.loop.turn(1)
    assert bench.written == [(2, True)]


@pytest.mark.parametrize("bench", [1, 3], indirect=True)
def test_ack_does_not_wait_when_few_messages_may_be_held(bench):
    bench.hold(1)
    bench.finish(1)
    bench.acks.write(all_now=False)
    assert bench.written == [(1, False)]


def test_ack_does_not_wait_when_much_of_the_window_is_used(bench):
    bench.hold(1, 2, 3, 4, 5)
    bench.finish(1)
    bench.acks.write(all_now=False)
    assert bench.written == [(1, False)]


def test_ack_does_not_wait_when_nothing_more_comes(bench):
    bench.hold(1)
    bench.finish(1)
    bench.acks.write(all_now=True)
    assert bench.written == [(1, False)]
