"""The canvas with RabbitMQ alone: nobody keeps results, and everything runs all the same."""

from __future__ import annotations

from contextlib import closing

import pytest
from waiting import wait_for

from amqtask import Amqtask, Queue, chain, chord, group
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

PATIENCE = 60.0


@pytest.fixture(scope="module")
def site(broker_node):
    url = broker_node.add_vhost("without-results")
    app = Amqtask("alone", broker=url, task_queues=[Queue("alone", type="classic")], task_default_queue="alone")
    app.seen = []

    @app.task(name="add")
    def add(x, y=0):
        return x + y

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="note")
    def note(value, label):
        app.seen.append((label, value))

    @app.task(name="fails", retry=False)
    def fails(*_args):
        raise ValueError("no luck")

    @app.task(name="again", bind=True, retry=[0.05])
    def again(self, value):
        if self.request.retries == 0:
            raise RuntimeError("not yet")
        return value

    @app.task(name="grows", bind=True)
    def grows(self, value):
        self.add_to_chord(add.s(value, 100))
        return value

    @app.task(name="becomes", bind=True)
    def becomes(self, value):
        self.replace(group(add.s(value, 1), add.s(value, 2)) | total.s())

    options = resolve(Requested(pool="threads", concurrency=2, queues=["alone"]), app.topology, app.settings)
    with closing(app), EmbeddedWorker(app, options):
        yield app
    broker_node.delete_vhost("without-results")


def noted(app, label):
    return wait_for(lambda: [value for name, value in app.seen if name == label], timeout=PATIENCE)


WORK = {
    "chain": (lambda s, note: chain(s("add", 1, 1), s("add", 2), note), 4),
    "group": (lambda s, note: group(s("add", 1) | s("add", 1), s("add", 2)) | s("total") | note, 4),
    "chord": (lambda s, note: chord([s("again", 2), s("add", 3).set(ignore_result=True)], note), [2, 3]),
    "chord of none": (lambda s, note: chord([], note), []),
    "chord in a chord": (lambda s, note: chord([chord([s("add", 1)], s("total")), s("add", 1)], s("total")) | note, 2),
    "member that adds": (lambda s, note: chord([s("grows", 1), s("add", 1)], s("total")) | note, 103),
    "replaced": (lambda s, note: chain(s("add", 1, 1), s("becomes"), note), 7),
    "long chain": (lambda s, note: chain(s("add", 0), *(s("add", 1) for _ in range(80)), note), 80),
    "long chain behind a group": (
        lambda s, note: chain(group(s("add", 1), s("add", 1)), s("total"), *(s("add", 1) for _ in range(80)), note), 82,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("label", "work", "value"), [(label, *case) for label, case in WORK.items()], ids=WORK.keys())
def test_work_comes_to_its_end(site, label, work, value):
    sig = lambda name, *args: site.signature(name, args)
    work(sig, sig("note", label)).delay()
    assert noted(site, label) == [value]


FAILING = {
    "task": lambda s: s("fails"),
    "chain": lambda s: chain(s("add", 1), s("fails"), s("add", 1)),
    "chord": lambda s: chord([s("fails"), s("add", 1), s("fails")], s("total")),
    "body": lambda s: chord([s("add", 1)], s("fails")),
    "long chain": lambda s: chain(s("add", 1), s("fails"), *(s("add", 1) for _ in range(80))),
}
ERRBACKS = {
    "task": lambda s, note: note,
    "chain": lambda s, note: chain(s("add", ""), note),
    "group": lambda s, note: group(note, s("add", "")),
    "chord": lambda s, note: chord([s("add", "")], note),
}


@pytest.mark.parametrize(
    ("work", "errback"),
    [("task", "chain"), ("chain", "group"), ("chord", "chord"), ("body", "chain"), ("long chain", "task")],
)
def test_a_failure_is_told_once_by_an_errback_of_any_kind(site, work, errback):
    sig = lambda name, *args: site.signature(name, args)
    label = f"{work} told by {errback}"
    FAILING[work](sig).on_error(ERRBACKS[errback](sig, sig("note", label))).delay()
    assert len(noted(site, label)) == 1
