"""Random pieces of work through a real worker while everything around it fails: they come to what a direct evaluation
says, wherever results are kept and whoever counts the chords.

What is promised: every task runs, with the arguments that it should have, and always under the same id. An attempt runs
more than once only when its message was delivered again. The message of a chord's body is sent once, unless the worker
that sends it dies, or its connection does, before the chord is marked as over: then again, with the same id.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import suppress

import pytest
from canvas_bench import ENTRY, PATIENCE, Bench, children, twice
from stores import redis_server
from waiting import wait_for

from amqtask import ChordError, chord, group

pytestmark = pytest.mark.rabbitmq

SEEDS = range(16, 26)
PLACES = ["rpc", "file", "redis"]


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


@pytest.fixture
def place(request, tmp_path):
    """URL of a result backend."""
    if request.param == "redis":
        return request.getfixturevalue("redis").url
    return "rpc://" if request.param == "rpc" else f"file://{tmp_path}/results"


everywhere = pytest.mark.parametrize("place", PLACES, indirect=True)
stored_or_sent = pytest.mark.parametrize("place", ["rpc", "redis"], indirect=True)


@pytest.fixture
def bench():
    made = []

    def make(site, place, seeds=SEEDS, **more):
        made.append(Bench(site, place, seeds, **more))
        return made[-1]

    yield make
    for one in made:
        one.app.close()


@everywhere
def test_children_that_are_killed_change_nothing(site, bench, place):
    bench = bench(site, place)
    worker = bench.worker()
    rng = random.Random(1)
    bench.send_trees()
    for turn in range(1, 10):
        bench.part_done(turn / 10)
        with suppress(ProcessLookupError):
            os.kill(rng.choice(wait_for(lambda: children(worker))).pid, signal.SIGKILL)
    bench.check_trees()
    assert worker.count(r"SIGKILL") >= 5
    bench.end(worker)


@everywhere
def test_workers_that_are_killed_and_started_again_change_nothing(site, bench, place):
    bench = bench(site, place)
    worker = bench.worker()
    bench.send_trees()
    for share in (0.2, 0.6):
        bench.part_done(share)
        worker.kill()
        worker = bench.worker()
    bench.check_trees()
    bench.end(worker)


@everywhere
def test_connections_that_are_cut_change_nothing(breakable_site, own_node, bench, place):
    bench = bench(breakable_site, place)
    worker = bench.worker()
    bench.send_trees()
    for number, share in enumerate((0.2, 0.5), 2):
        bench.part_done(share)
        breakable_site.admin_close()
        own_node.close_connections()
        worker.wait_ready(number)
    bench.check_trees()
    bench.end(worker)


@stored_or_sent
def test_messages_that_come_twice_change_nothing(site, bench, place):
    site.route(ENTRY)
    bench = bench(site, place)
    worker = bench.worker()
    with twice(site.url, random.Random(2)):
        bench.send_trees()
        bench.check_trees()
        wait_for(lambda: site.ready("entry") == 0)
    bench.end(worker)
    assert not worker.count("result backend fails")


@everywhere
def test_without_faults_every_attempt_runs_once(site, bench, place):
    bench = bench(site, place)
    worker = bench.worker()
    bench.send_trees()
    bench.check_trees()
    bench.end(worker)
    bench.check_runs()
    assert not any(run["again"] for run in bench.runs)


@stored_or_sent
def test_a_group_of_a_thousand(site, bench, place):
    bench = bench(site, place, seeds=())
    worker = bench.worker()
    result = group(bench.sig("one", number) for number in range(1_000)).apply_async()
    assert result.get(timeout=PATIENCE) == list(range(1_000))
    bench.end(worker)
    bench.check_runs_of("one", 1_000)


@stored_or_sent
def test_two_hundred_chords_at_once_send_each_body_once(site, bench, place):
    bench = bench(site, place, seeds=())
    first, second = (bench.worker("-n", f"{name}@%h", pool="threads") for name in "ab")
    results = [
        chord([bench.sig("one", number) for number in range(5)], bench.sig("total", str(label))).apply_async()
        for label in range(200)
    ]
    assert [result.get(timeout=PATIENCE) for result in results] == [10] * 200
    bench.end(first)
    bench.end(second)
    bench.check_runs_of("total", 200)


@stored_or_sent
def test_the_death_of_the_worker_that_has_a_member_delays_the_body_only(site, bench, place):
    bench = bench(site, place, seeds=())
    first = bench.worker("-n", "a@%h")
    result = chord(
        [bench.sig("one", 1, 0.5), *(bench.sig("one", n) for n in range(20))],
        bench.sig("total", "x"),
    ).apply_async()
    bench.wait(lambda: len(bench.runs) >= 2)
    first.kill()
    second = bench.worker("-n", "b@%h")
    assert result.get(timeout=PATIENCE) == 191
    bench.end(second)
    bench.check_runs_of("total", 1)


@stored_or_sent
def test_a_chord_whose_time_is_up_fails_and_tells_its_errback(site, bench, place):
    site.route(ENTRY)
    bench = bench(site, place, seeds=(), chord_expires=1.0)
    worker = bench.worker()
    late = bench.sig("one", 2)
    body = bench.sig("total", "x").set(queue="work").on_error(bench.sig("told").set(queue="work"))
    result = chord([bench.sig("one", 1).set(queue="work"), late], body).apply_async()
    with pytest.raises(ChordError, match="did not end in time"):
        result.get(timeout=PATIENCE, follow_parents=False)
    bench.wait(lambda: ("told", result.id) in {(run["task"], run["id"]) for run in bench.runs})
    bench.end(worker)
    assert bench.site.admin.queue_state(f"amqtask.chord.{result.parent.id}") is None
    assert Counter(run["task"] for run in bench.runs) == {"one": 1, "told": 1}


def test_nothing_is_acked_while_its_result_can_not_be_stored(site, bench, redis):
    bench = bench(site, redis.url)
    worker = bench.worker("--prefetch", "500")  # more than there is: what is unacked keeps nothing from running
    bench.send_trees()
    bench.part_done(0.3)
    redis.stop()
    try:
        worker.wait_for_log("The result backend fails")
        late = site.send("one", 5, queue="work")
        bench.wait(lambda: any(run["id"] == late for run in bench.runs))
        assert worker.running
    finally:
        redis.start()
    assert bench.app.AsyncResult(late).get(timeout=PATIENCE) == 5
    bench.check_trees()
    worker.wait_for_log("The result backend works again")
    bench.end(worker)
    bench.check_runs()


@pytest.mark.rabbitmq_only("keeping messages over a restart")
@pytest.mark.parametrize("place", ["rpc"], indirect=True)
def test_a_broker_that_restarts_between_sending_and_waiting_loses_nothing(breakable_site, own_node, bench, place):
    site = breakable_site
    bench = bench(site, place, seeds=range(6))
    worker = bench.worker()
    bench.send_trees()
    site.admin_close()
    own_node.restart()
    worker.wait_ready(2)
    bench.check_trees()
    bench.end(worker)
