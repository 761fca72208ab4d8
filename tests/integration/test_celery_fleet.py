"""Workers of Celery and of amqtask on one queue."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from interop import QUIET, SECONDS, Pair, ShopWorker, paired
from nodes import Node
from stores import redis_server

from amqtask.topology.delays import delay_target

pytestmark = [pytest.mark.rabbitmq, *QUIET]

CHORDS = 15


@pytest.fixture(params=["celery", "amqtask"])
def fleet(request: pytest.FixtureRequest, broker_node: Node, tmp_path: Path) -> Iterator[tuple[Pair, ShopWorker]]:
    """A client, and a worker of each side."""
    client = request.param
    with redis_server() as redis, paired(broker_node, tmp_path, client, "amqtask", "threads", redis.url) as pair:
        theirs = ShopWorker("celery", "threads", pair.url, redis.url, tmp_path)
        try:
            theirs.wait_ready()
            yield pair, theirs
        finally:
            theirs.close()


def test_chord_is_completed_by_whoever_ends_last(fleet: tuple[Pair, ShopWorker]) -> None:
    pair, theirs = fleet
    header = [pair.sig("add", n, n) for n in range(10)]
    results = [pair.module.chord(header, pair.sig("xsum")).apply_async() for _ in range(CHORDS)]
    assert [result.get(timeout=SECONDS) for result in results] == [90] * CHORDS
    for worker in (pair.worker, theirs):
        assert worker.text().count("Task shop.add[") > 0, worker.text()


def test_chain_goes_from_one_to_the_other(fleet: tuple[Pair, ShopWorker]) -> None:
    pair, _ = fleet
    steps = [pair.sig("add", 1, 1), *(pair.sig("add", 1) for _ in range(20))]
    assert pair.module.chain(*steps).apply_async().get(timeout=SECONDS) == 22


def test_retries_go_from_one_to_the_other(fleet: tuple[Pair, ShopWorker]) -> None:
    pair, _ = fleet
    results = [pair.sig("at_third").delay() for _ in range(20)]
    assert [result.get(timeout=SECONDS) for result in results] == [2] * 20
    # a Celery worker publishes with the routing key that the attempt before it came with
    assert pair.ready(delay_target(["celery"], timedelta(seconds=1)).routing_key) == -1
