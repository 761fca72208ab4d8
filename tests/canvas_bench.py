"""Random pieces of work on a real broker: a client that sends trees, and what must have come of them in the end."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress

import psutil
from canvas_fault_app import drawn, expected
from canvas_trees import FAILED, Register, build, failed
from worker_process import OPTIONS, whole_lines

from amqtask import Amqtask, GroupResult, ResultTimeout
from amqtask.broker.admin import Admin
from amqtask.broker.url import parse_urls
from amqtask.canvas.signature import Signature, signature
from amqtask.wire.message import Outgoing, strip_broker_headers

PATIENCE = 60.0
"""Seconds on a machine that is busy with other things."""

FAILURES = 0.05
ENTRY = """\
version: 1
defaults: {queue: {type: classic}}
queues: {work: {}, entry: {}}
routes: [{task: "*", queue: entry}]
"""
"""All that is sent comes to the queue ``entry``; see :func:`twice`."""


class Bench:
    """A site, a client, and the trees that it sends.

    Args:
        site: where workers run.
        place: URL of the result backend.
        seeds: of the trees.
        settings: of the client.
    """

    def __init__(self, site, place, seeds=(), **settings):
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
        return [json.loads(line) for line in whole_lines(self._runs)]

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
            check_steps(self.results[seed])
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
        self._state = None
        self.wait(self.quiet)
        # one that waits for a dead worker's claim on a chord in Redis takes its time
        assert worker.stop(timeout=PATIENCE) == 0
        if self.site.ready("work"):  # what it has sent in the end is for the next worker
            self.end(self.worker())


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


def check_steps(result):
    """Whatever is waited for has ended: what was skipped because of a failure, too."""
    for node in [result, *result.ancestors()]:
        if isinstance(node, GroupResult):
            for member in node.results:
                check_steps(member)
        else:
            node.get(timeout=PATIENCE, propagate=False, follow_parents=False)


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
                headers = strip_broker_headers(message.properties.headers)  # a CC would lead back to the entry
                properties = message.properties._replace(headers=headers)
                for _ in range(2 if rng.random() < share else 1):
                    admin.publish(Outgoing("", "work", properties, message.body))
                admin.ack(message.tag)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
