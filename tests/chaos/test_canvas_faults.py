"""Random pieces of work through a real worker while everything around it fails: they come to what a direct evaluation
says, wherever results are kept and whoever counts the chords.

What is promised: every task runs, with the arguments that it should have, and always under the same id. An attempt runs
more than once only when its message was delivered again. The message of a chord's body is sent once, unless the worker
that sends it dies, or its connection does, before the chord is marked as over: then again, with the same id.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress

import psutil
import pytest
from canvas_fault_app import drawn, expected
from canvas_trees import FAILED, Register, build, failed
from stores import redis_server
from waiting import wait_for
from worker_process import OPTIONS

from amqtask import Amqtask, ChordError, GroupResult, ResultTimeout, chord, group
from amqtask.broker.admin import Admin
from amqtask.broker.url import parse_urls
from amqtask.canvas.signature import Signature, signature
from amqtask.wire.message import Outgoing

pytestmark = pytest.mark.rabbitmq

PATIENCE = 60.0
"""Seconds on a machine that is busy with other things."""

SEEDS = range(16, 26)
FAILURES = 0.05
ENTRY = """\
version: 1
defaults: {queue: {type: classic}}
queues: {work: {}, entry: {}}
routes: [{task: "*", queue: entry}]
"""
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


class Bench:
    """A site, a client, and the trees that it sends.

    Args:
        site: where workers run.
        place: URL of the result backend.
        seeds: of the trees.
        settings: of the client.
    """

    def __init__(self, site, place, seeds=SEEDS, **settings):
        self.site, self.place = site, place
        self.seeds = list(seeds)
        self.app = Amqtask(
            "caller",
            broker=site.url,
            backend=place,
            routing=site.folder / "routing.yaml",
            broker_confirm_timeout=60.0,
            **settings,
        )
        self._runs = site.folder / "runs"
        self._state, self._since = None, 0.0

    def worker(self, *words, pool="prefork", **settings):
        return self.site.worker(
            *("-A", "canvas_fault_app", "-Q", "work", "-P", pool, "-c", "4", *words),
            result_backend=self.place,
            worker_lost_max_deliveries=100,
            broker_confirm_timeout=60,  # tasks that send while the broker is away wait for it
            CANVAS_TREES=json.dumps([[seed, FAILURES] for seed in self.seeds]),
            **settings,
        )

    def bind(self, sig):
        return Signature.from_dict(json.loads(json.dumps(sig)), app=self.app.canvas)

    def sig(self, task, *args, **options):
        return signature(task, args, app=self.app.canvas, **options)

    def send_trees(self):
        self.evaluations = {seed: expected(seed, FAILURES) for seed in self.seeds}
        self.results = {seed: self.bind(build(drawn(seed, FAILURES), Register())).apply_async() for seed in self.seeds}

    @property
    def runs(self):
        """What tasks wrote, in order."""
        return [json.loads(line) for line in self._runs.read_text().splitlines()] if self._runs.exists() else []

    def part_done(self, share):
        """Wait until about this share of all tasks has run."""
        wanted = share * sum(len(evaluation.ran) for evaluation in self.evaluations.values())
        self.wait(lambda: len({run["id"] for run in self.runs}) >= wanted)

    def wait(self, condition, state=lambda: ""):
        self.site._wait(condition, PATIENCE, state)

    def check_trees(self):
        for seed, evaluation in self.evaluations.items():
            found = value(self.results[seed])
            if failed(evaluation.value):
                assert failed(found), seed
            else:
                assert found == evaluation.value, seed
        ran = {call for evaluation in self.evaluations.values() for call in evaluation.ran}
        told = {name for evaluation in self.evaluations.values() for name in evaluation.errbacks}
        wanted = ran | {(name, "[]") for name in told}
        self.wait(lambda: wanted <= self.calls(), lambda: f"missing: {sorted(wanted - self.calls())}")
        calls = {call for call in self.calls() if "." in call[0]}
        assert {call for call in calls if ".err" not in call[0]} == ran
        assert {name for name, _ in calls if ".err" in name} == told
        self.check_ids()

    def calls(self):
        return {(run["task"], run["args"]) for run in self.runs}

    def check_ids(self):
        """No task was sent under two ids, or with two lists of arguments."""
        ids = Counter((task, task_id) for task, task_id in {(run["task"], run["id"]) for run in self.runs})
        by_task = Counter(task for task, _ in ids if ".err" not in task)
        assert [task for task, count in by_task.items() if count > 1] == []

    def check_runs(self):
        """No attempt ran twice, but for messages that came again."""
        runs = [run for run in self.runs if ".err" not in run["task"] and not run["again"]]
        first = Counter((run["task"], run["id"], run["retries"]) for run in runs)
        assert [one for one, count in first.items() if count > 1] == []

    def check_runs_of(self, task, count):
        """So many of these ran, each once unless its message came again."""
        runs = [run for run in self.runs if run["task"] == task]
        assert len({run["id"] for run in runs}) == count
        assert len([run for run in runs if not run["again"]]) <= count

    def quiet(self):
        """Nothing waits, and nothing has been run for a moment: what the trees have sent has ended."""
        state = (self.site.ready("work"), self._runs.stat().st_size)
        if state != self._state:
            self._state, self._since = state, time.monotonic()
        return state[0] == 0 and time.monotonic() - self._since > 0.5

    def end(self, worker):
        self.wait(self.quiet)
        # one that waits for a dead worker's claim on a chord in Redis takes its time
        assert worker.stop(timeout=PATIENCE) == 0
        if self.site.ready("work"):  # and what it has sent in the end is for the next worker
            worker = self.worker()
            self.wait(self.quiet)
            assert worker.stop(timeout=PATIENCE) == 0
        assert self.site.ready("work") == 0, worker.text()[-3000:]


@pytest.fixture
def bench():
    made = []

    def make(*args, **more):
        made.append(Bench(*args, **more))
        return made[-1]

    yield make
    for one in made:
        one.app.close()


def value(result):
    """What became of a tree: nested lists, with FAILED in the place of what failed."""
    if isinstance(result, GroupResult):
        return [value(member) for member in result.results]
    try:
        return result.get(timeout=PATIENCE)
    except ResultTimeout:
        raise
    except Exception:
        return FAILED


def children(worker):
    """The processes that run tasks: those of the fork server."""
    found = []
    for one in worker.family():
        with suppress(psutil.NoSuchProcess):
            if one.ppid() != worker.pid and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


@contextmanager
def twice(url, rng, share=0.3):
    """Passes every message on from the queue ``entry`` to ``work``, some of them twice."""
    ended = threading.Event()

    def work():
        with Admin(parse_urls(url), OPTIONS) as admin:
            while not ended.is_set():
                message = admin.get("entry") if admin.queue_state("entry") else None
                if message is None:
                    ended.wait(0.005)
                    continue
                for _ in range(2 if rng.random() < share else 1):
                    admin.publish(Outgoing("", "work", message.properties, message.body))
                admin.ack(message.tag)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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


@pytest.mark.parametrize("place", ["rpc"], indirect=True)
def test_a_chord_whose_time_is_up_fails_and_tells_its_errback(site, bench, place):
    site.route(ENTRY)
    bench = bench(site, place, seeds=(), chord_expires=2.0)
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
