"""Chains, groups and chords as periodic tasks: one message for each due time, which workers take apart."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from beats import beating, judged, new_app
from waiting import wait_for

from amqtask import chain, chord, group
from amqtask.beat.occurrences import Occurrences, occurrence_id
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq


class Shop:
    """An app with tasks that note what they ran with."""

    def __init__(self, url, **settings):
        self.app = new_app(url, **settings)
        self.ran: list[tuple[str, str, object]] = []
        self.free = threading.Event()
        self.free.set()
        note = self.ran.append

        @self.app.task(name="add", bind=True)
        def add(task, *numbers):
            note(("add", task.request.id, numbers))
            return sum(numbers)

        @self.app.task(name="total", bind=True)
        def total(task, numbers):
            self.free.wait(100)
            note(("total", task.request.id, sum(numbers)))
            return sum(numbers)

        @self.app.task(name="fail", bind=True, retry=False)
        def fail(task, *_):
            note(("fail", task.request.id, None))
            raise LookupError("no")

        self.add, self.total, self.fail = add, total, fail

    def named(self, name):
        return [(task_id, value) for task, task_id, value in self.ran if task == name]

    def worker(self):
        return EmbeddedWorker(
            self.app, resolve(Requested(pool="threads", concurrency=4), self.app.topology, self.app.settings)
        )


@pytest.fixture
def shop(vhost_url, request):
    made = Shop(vhost_url, **getattr(request, "param", {}))
    yield made
    made.app.close()


def occurrence(shop, name, task_id):
    """Its due time, from the id of the occurrence."""
    now = int(time.time() * 10)
    dues = (datetime.fromtimestamp(tenth / 10, tz=UTC) for tenth in range(now - 600, now + 10))
    return next((due.timestamp() for due in dues if occurrence_id("beats", name, due) == task_id), None)


def test_a_chain_is_one_message_and_its_result_has_the_id_of_the_due_time(shop):
    shop.app.add_periodic_task(0.1, chain(shop.add.s(1), shop.add.s(2), shop.add.s(4)), name="sum", catchup="all")
    with shop.worker():
        with beating(shop.app) as beat:
            wait_for(lambda: beat.pulse.sent_count >= 4)
        wait_for(lambda: sum(sum(one) == 7 for _, one in shop.named("add")) == beat.pulse.sent_count)
    ends = [task_id for task_id, numbers in shop.named("add") if sum(numbers) == 7]
    dues = [occurrence(shop, "sum", task_id) for task_id in ends]
    assert None not in dues
    assert judged(sorted(dues), 0.1) == (0, 0)


@pytest.mark.parametrize("shop", [{}, {"interop": "celery"}], indirect=True, ids=["amqtask", "celery"])
def test_a_group_and_a_chord_run_once_for_each_due_time(shop):
    shop.app.conf.beat_schedule = {
        "all": {"task": group(shop.add.s(1, one) for one in range(3)), "schedule": 0.1, "catchup": "all"},
        "joined": {
            "task": dict(chord([shop.add.s(20, 1), shop.add.s(20, 2)], shop.total.s())),
            "schedule": 0.1,
            "catchup": "all",
        },
    }
    with shop.worker():
        with beating(shop.app) as beat:
            wait_for(lambda: beat.pulse.sent_count >= 8)
        runs = {name: mark.runs for name, mark in beat.leader.state.marks.items()}
        wait_for(lambda: len(shop.named("total")) == runs["joined"])
        wait_for(lambda: len([one for one in shop.named("add") if one[1][0] == 1]) == 3 * runs["all"])
    assert max(Counter(task_id for _, task_id, _ in shop.ran).values()) == 1
    bodies = shop.named("total")
    assert {value for _, value in bodies} == {43}
    dues = [occurrence(shop, "joined", task_id) for task_id, _ in bodies]
    assert judged(sorted(dues), 0.1) == (0, 0)


def test_parts_have_ids_that_follow_from_the_due_time(shop):
    shop.app.add_periodic_task(3600, group(shop.add.s(1), shop.add.s(2)), name="all")
    due = datetime(2030, 1, 1, tzinfo=UTC)
    made = Occurrences(shop.app, "log").message(shop.app.periodic_tasks()["all"], due)
    with shop.worker():
        for _ in range(2):  # as a worker that dies before it has acknowledged
            shop.app.transport.send(made, timeout=60)
        wait_for(lambda: len(shop.ran) == 4)
    assert sorted(Counter(task_id for _, task_id, _ in shop.ran).values()) == [2, 2]


def test_what_has_a_part_that_goes_nowhere_is_not_tried_again_for_ever_and_has_ended(shop):
    work = group(shop.add.s(1), shop.add.s(2).set(queue="nowhere"))
    shop.app.add_periodic_task(0.1, work, name="one", overlap="skip")
    with shop.worker(), beating(shop.app) as beat:
        wait_for(lambda: beat.pulse.sent_count >= 3)
    assert max(Counter(task_id for _, task_id, _ in shop.ran).values()) == 1


@pytest.mark.parametrize("kind", ["chain", "group", "failing"])
def test_a_run_of_several_tasks_has_ended_when_all_of_them_have(shop, kind):
    shop.free.clear()
    last = shop.total.s()
    work = {
        "chain": chain(group(shop.add.s(1), shop.add.s(2)), last),
        "group": group(shop.add.s(1), shop.total.s([3])),
        "failing": chain(shop.fail.s(), last),
    }[kind]
    shop.app.add_periodic_task(0.1, work, name="one", overlap="skip")
    with shop.worker(), beating(shop.app) as beat:
        if kind != "failing":
            wait_for(lambda: shop.named("add"))
            skipped = time.time() + 0.35
            wait_for(lambda: time.time() > skipped)
            assert beat.pulse.sent_count == 1
            shop.free.set()
        wait_for(lambda: beat.pulse.sent_count >= 3)


def test_a_long_chain_goes_through_the_broker_in_pieces(shop):
    shop.app.add_periodic_task(3600, chain(shop.add.s(1) for _ in range(100)), name="long")
    made = Occurrences(shop.app, "log").message(shop.app.periodic_tasks()["long"], datetime(2030, 1, 1, tzinfo=UTC))
    with shop.worker():
        shop.app.transport.send(made, timeout=60)
        wait_for(lambda: len(shop.ran) == 100)
    assert shop.ran[-1][1] == made.properties.correlation_id


KEYS = {"message_signing_keys": {"one": "k" * 32}, "message_signing_key": "one", "message_signing_required": True}


@pytest.mark.parametrize("shop", [KEYS], indirect=True, ids=["signed"])
def test_a_group_can_be_added_at_run_time_and_its_messages_are_signed(shop):
    with shop.worker(), beating(shop.app) as beat:
        wait_for(lambda: beat.pulse.leading)
        shop.app.schedules.add("all", group(shop.add.s(1), shop.add.s(2)), 3600, overlap="skip")
        for run in (1, 2):
            shop.app.schedules.run_now("all")
            wait_for(lambda: len(shop.ran) == 2 * run and beat.leader.state.marks["all"].running is None)  # noqa: B023
