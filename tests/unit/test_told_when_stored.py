"""Who is told of ends, and when: middleware once a dead letter is stored, the scheduler once a run can't go on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from waiting import wait_for
from worker_messages import delivery

from amqtask import Amqtask, Middleware
from amqtask.execution.job import Kind, Outcome
from amqtask.schedules.records import HEADER, REPORT
from amqtask.topology.declarations import Queue
from amqtask.worker.deliveries.outcome import Effect, Effects
from amqtask.worker.steps.middleware import Teller
from amqtask.worker.steps.scheduled import ScheduledRuns

UNSENDABLE = Effect(dead="unsendable", lost=Outcome(1, Kind.FAILED, text="too large"))


@pytest.fixture
def effects():
    return Effects(Queue, "w@h", [], 3)


def test_middleware_hears_of_an_end_when_what_follows_is_stored(effects):
    told = []

    class Alarm(Middleware):
        def on_dead(self, attempt):
            told.append(("dead", attempt.task_id, attempt.exception))

        def on_retry(self, attempt):
            told.append(("retry", attempt.task_id, attempt.exception))

    teller = Teller([Alarm()])
    teller.start()
    slow, quick, again, never = (delivery() for _ in range(4))
    for one, kind in ((slow, Kind.FAILED), (quick, Kind.FAILED), (again, Kind.RETRY), (never, Kind.RETRY)):
        outcome = Outcome(one.key, kind, text="no", delay=5.0)
        teller.ended(one, outcome, effects.of(one, outcome))
    teller.unsendable(never, Kind.RETRY, UNSENDABLE)
    for one in (quick, again, never, delivery()):
        teller.settled(one)
    wait_for(lambda: len(told) == 3)
    teller.settled(slow)
    teller.finish()
    wait_for(lambda: not teller.alive)
    assert told == [
        ("dead", quick.id, "no"),
        ("retry", again.id, "no"),
        ("dead", never.id, "too large"),
        ("dead", slow.id, "no"),
    ]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("t", Kind.SUCCESS, 0),  # told when it had ended
        ("amqtask.start", Kind.IGNORED, 1),
        ("t", Kind.RETRY, 1),
        ("t", None, 1),
    ],
)
def test_run_that_can_not_go_on_has_ended_for_the_scheduler(name, kind, told):
    published = []
    app = Amqtask("scheduled")
    outbox = SimpleNamespace(publish=lambda message, timeout, done: published.append(message.routing_key))
    runs = ScheduledRuns(SimpleNamespace(app=app, custody=SimpleNamespace(observers=[]), outbox=outbox))
    runs.start()
    made = delivery(task=name, **{HEADER: {"entry": "e", REPORT: "amqtask.beat.x"}})
    if kind is not None:
        runs.ended(made, Outcome(made.key, kind), Effect(delay=1.0))
        published.clear()
    runs.unsendable(made, kind, UNSENDABLE)
    assert published == ["amqtask.beat.x"] * told
