"""Parked steps of a long chain: kept for weeks while nothing happens, gone some time after the end."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from parked import parked_queues
from waiting import wait_for

from amqtask import Amqtask, chain
from amqtask.broker.admin import Admin
from amqtask.testing.clock import MovableClock
from amqtask.testing.devbroker import DevBroker
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

HOUR = 3600
PATIENCE = 60.0


@pytest.fixture
def broker():
    with DevBroker() as running:
        yield running


@pytest.fixture
def advance(broker):
    """Moves the clocks of the broker and of everybody else."""
    clock = MovableClock()
    clock.install()
    yield lambda seconds: (clock.advance(seconds), broker.advance(seconds))
    clock.restore()


def test_a_chain_that_stands_still_for_weeks_goes_on_and_leaves_no_queue(broker, advance, monkeypatch):
    app, held, ends = Amqtask("weeks", broker=broker.url, chord_expires=60.0), threading.Event(), []

    @app.task
    def hold(value):
        held.wait(PATIENCE)
        return value

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def end(value):
        ends.append(value)

    options = resolve(Requested(pool="threads", concurrency=1, queues=["amqtask"]), app.topology, app.settings)
    with closing(app), EmbeddedWorker(app, options), Admin(app.broker_urls, app.connection_options) as admin:
        queues = parked_queues(monkeypatch)
        chain(hold.s(0), *(add.s(1) for _ in range(70)), end.s())()
        (queue,) = queues
        advance(21 * 24 * HOUR)
        held.set()
        wait_for(lambda: ends == [70], timeout=PATIENCE)
        assert admin.queue_state(queue) is not None, "a step may have run twice, and want what follows again"
        hours = 0
        while admin.queue_state(queue) is not None:
            advance(HOUR)  # the message that ends it goes down the delay ladder step by step
            hours += 1
            assert hours < 40 * 24, "it is deleted, not just expired"
