"""Results through a worker and a store: Redis, which tells news and counts chords, and one that does neither."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from stores import Place, place_called

from amqtask import Amqtask, chord, group
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve


@pytest.fixture(params=["redis", "sqlite"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place_called(request.param) as found:
        yield found


@pytest.fixture
def app(place, vhost_url):
    made = Amqtask("stores", broker=vhost_url, backend=place.url)

    @made.task(name="add")
    def add(x, y):
        return x + y

    @made.task(name="total")
    def total(numbers):
        return sum(numbers)

    @made.task(name="fail")
    def fail():
        raise ValueError("no luck")

    with EmbeddedWorker(made, resolve(Requested(pool="threads", concurrency=3), made.topology, made.settings)):
        yield made
    made.close()


def test_results_come_back_through_the_store(app):
    add, total, fail = app.tasks["add"], app.tasks["total"], app.tasks["fail"]
    assert add.delay(1, 2).get(timeout=60) == 3
    assert (add.s(1, 1) | add.s(2)).apply_async().get(timeout=60) == 4
    assert group(add.s(number, number) for number in range(5))().get(timeout=60) == [0, 2, 4, 6, 8]
    assert chord([add.s(number, number) for number in range(10)])(total.s()).get(timeout=60) == 90
    assert asyncio.run(asyncio.wait_for(add.delay(2, 2).aget(), 20)) == 4
    with pytest.raises(ValueError, match="no luck"):
        fail.delay().get(timeout=60)
