"""Chords that RabbitMQ counts, and those that a result backend counts: the body runs once, with every result."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from kept import Kept, keep_in
from waiting import wait_for

from amqtask import Amqtask, Queue
from amqtask.broker.admin import Admin
from amqtask.canvas.chord import chord
from amqtask.canvas.group import group
from amqtask.errors import ChordError, Ignore, TaskRevoked
from amqtask.execution.job import Kind
from amqtask.topology.chords import WATCH_TASK
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.codec import encode, serializers
from amqtask.wire.ids import new_id
from amqtask.wire.message import Outgoing, Properties, TaskMessage
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.followups import backlog
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq


class Place:
    """An app, its workers, and what its bodies were given."""

    def __init__(self, url, **settings):
        self.bodies = []
        self.app = app = Amqtask("guest", broker=url, task_queues=[Queue("work", type="classic")], **settings)
        self.admin = Admin(app.broker_urls, app.connection_options)

        @app.task(name="add", queue="work")
        def add(left, right=1):
            return left + right

        @app.task(name="fail", queue="work", retry=False)
        def fail():
            raise LookupError("no luck")

        @app.task(name="again", queue="work", bind=True)
        def again(self, value):
            if self.request.retries < 2:
                raise self.retry(countdown=0.1)
            return value

        @app.task(name="early", queue="work", acks_late=False)
        def early(value):
            return value

        @app.task(name="adds_one", queue="work", bind=True)
        def adds_one(self, value):
            self.add_to_chord(add.s(value))
            return value

        @app.task(name="becomes_chord", queue="work", bind=True)
        def becomes_chord(self, size):
            self.replace(chord([add.s(number) for number in range(size)], body.s()))

        @app.task(name="sends_chord", queue="work")
        def sends_chord(size):
            return chord([add.s(number) for number in range(size)], body.s()).apply_async().id

        @app.task(name="body", queue="work")
        def body(results):
            self.bodies.append(results)
            return results

        self.add, self.fail, self.again, self.early, self.body = add, fail, again, early, body
        self.adds_one, self.becomes_chord, self.sends_chord = adds_one, becomes_chord, sends_chord

    def worker(self, pool="threads", **asked):
        requested = Requested(pool=pool, queues=["work"], concurrency=None if pool == "solo" else 4, **asked)
        return EmbeddedWorker(self.app, resolve(requested, self.app.topology, self.app.settings))

    def chord_queues(self, *group_ids):
        """Which of these chords still have a queue."""
        names = [f"amqtask.chord.{group_id}" for group_id in group_ids]
        return [name for name in names if self.admin.queue_state(name) is not None]

    def close(self):
        self.app.close()
        self.admin.close()


@pytest.fixture
def place(vhost_url):
    made = Place(vhost_url, backend="rpc://")
    yield made
    made.close()


def header_id(result):
    return result.parent.id


@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
@pytest.mark.parametrize("size", [1, 2, 50])
def test_body_gets_all_results_in_order_and_the_queue_goes(place, pool, size):
    with place.worker(pool):
        result = chord([place.add.s(number) for number in range(size)], place.body.s()).apply_async()
        assert result.get(timeout=60) == [number + 1 for number in range(size)]
        wait_for(lambda: not place.chord_queues(header_id(result)))
    assert len(place.bodies) == 1


def test_failed_member_fails_the_body_that_does_not_run(place):
    with place.worker():
        result = chord([place.add.s(1), place.fail.s(), place.add.s(2)], place.body.s()).apply_async()
        with pytest.raises(ChordError, match="no luck"):
            result.get(timeout=60)
        wait_for(lambda: not place.chord_queues(header_id(result)))
    assert place.bodies == []


def test_member_that_is_tried_again_counts_once(place):
    with place.worker():
        result = chord([place.again.s(1), place.add.s(2)], place.body.s()).apply_async()
        assert result.get(timeout=60) == [1, 3]
    assert len(place.bodies) == 1


def test_member_nobody_knows_fails_the_body(vhost_url):
    place = Place(vhost_url, backend="rpc://", unknown_task_policy="dead")
    try:
        with place.worker():
            nobody = place.add.s(1)
            nobody["task"] = "nobody"
            nobody["options"]["queue"] = "work"
            with pytest.raises(ChordError, match="nobody"):
                chord([place.add.s(1), nobody], place.body.s()).apply_async().get(timeout=60)
    finally:
        place.close()


def test_task_that_expires_while_it_waits_is_told_of_as_any_failure(place):
    """The broker would move it to the dead letters, and nobody would ever hear of it."""
    told = []

    @place.app.task(name="told", queue="work")
    def tell(task_id):
        told.append(task_id)

    late = {"expires": datetime.now(UTC) - timedelta(seconds=1)}
    place.add.apply_async((1,), ignore_result=True, **late)
    wait_for(lambda: place.admin.queue_state("work.dead").ready == 1)  # for whom nobody waits, the broker takes care of
    member = chord([place.add.s(1), place.add.s(2).set(**late)], place.body.s()).apply_async()
    step = (place.add.s(1).set(**late) | place.add.s(10)).apply_async()
    single = place.add.apply_async((1,), link_error=tell.s(), **late)
    with place.worker():
        with pytest.raises(ChordError, match="TaskRevoked"):
            member.get(timeout=60)
        for result in (step, single):
            with pytest.raises(TaskRevoked, match="expired"):
                result.get(timeout=60)
        wait_for(lambda: told == [single.id])
        wait_for(lambda: place.admin.queue_state("work.dead").ready == 4)
    assert place.bodies == []


def test_result_of_a_member_that_fits_no_message_fails_the_body_at_once(vhost_url):
    place = Place(vhost_url, broker_max_message_size=100_000)  # and no result backend
    try:

        @place.app.task(name="large", queue="work")
        def large():
            return "x" * 200_000

        @place.app.task(name="told", queue="work")
        def tell(task_id):
            place.bodies.append(task_id)

        with place.worker():
            body = place.body.s().on_error(tell.s())
            result = chord([place.add.s(1), large.s()], body).apply_async()
            wait_for(lambda: place.bodies == [result.id])
    finally:
        place.close()


def test_member_that_ends_without_a_result_fails_the_body_at_once(place):
    @place.app.task(name="leaves", queue="work")
    def leaves(*_):
        raise Ignore("not today")

    with place.worker():
        for member in (leaves.s(), place.add.s(1) | leaves.s() | place.add.s(2)):
            with pytest.raises(ChordError, match="not today"):
                chord([place.add.s(1), member], place.body.s()).apply_async().get(timeout=60)
    assert place.bodies == []


def test_many_chords_at_once_on_two_workers_run_each_body_once(place):
    with place.worker(), place.worker():
        chords = [chord([place.add.s(base, n) for n in range(8)], place.body.s()).apply_async() for base in range(40)]
        assert [one.get(timeout=30) for one in chords] == [[base + n for n in range(8)] for base in range(40)]
    assert len(place.bodies) == 40


def test_chord_in_a_chord(place):
    with place.worker():
        inner = chord([place.add.s(1), place.add.s(2)], place.body.s())
        result = chord([inner, place.add.s(3)], place.body.s()).apply_async()
        assert result.get(timeout=60) == [[2, 3], 4]


def test_chord_that_a_chain_comes_to_is_begun_by_the_worker(place):
    with place.worker():
        result = (place.add.s(1) | group(place.add.s(10), place.add.s(20)) | place.body.s()).apply_async()
        assert result.get(timeout=60) == [12, 22]


@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
def test_chord_that_a_task_sends_or_becomes_is_begun_by_its_worker(place, pool):
    with place.worker(pool):
        sent = place.sends_chord.delay(3).get(timeout=60)
        assert place.app.AsyncResult(sent).id == sent
        wait_for(lambda: place.bodies == [[1, 2, 3]])
        assert place.becomes_chord.delay(2).get(timeout=60) == [1, 2]


def test_chord_that_a_task_of_a_child_sends_is_begun_by_the_parent(site):
    site.worker("-P", "prefork", "-c", "2", "-Q", "work", result_backend="rpc://")
    site.send("sends_chord", "c", 5)
    site.wait_done("c")
    (body,) = site.events("done", "c")
    assert body.more["results"] == [f"noted c.{number}" for number in range(5)]


def test_member_that_is_added_to_a_chord_while_it_runs_counts(place):
    with place.worker():
        result = chord([place.adds_one.s(10), place.adds_one.s(20), place.add.s(30)], place.body.s()).apply_async()
        assert sorted(result.get(timeout=60)) == [10, 11, 20, 21, 31]
        wait_for(lambda: not place.chord_queues(header_id(result)))
    assert len(place.bodies) == 1


def watch(place, body, **headers):
    """What the client sends with the chord; without its delay."""
    message = TaskMessage(WATCH_TASK, new_id(), (dict(body),))
    properties, encoded = encode(message, serializer=serializers.get("json"))
    properties = properties._replace(headers={**properties.headers, **headers}, message_id=new_id())
    place.admin.publish(Outgoing("", "work", properties, encoded))


class Counted:
    """A chord whose members have ended and left their results, but nobody has looked."""

    def __init__(self, place, size, *, done, deadline=3600.0):
        self.group_id, self.body_id = new_id(), new_id()
        self.queue = f"amqtask.chord.{self.group_id}"
        self.body = place.body.s()
        self.body["options"] = {
            "task_id": self.body_id, "queue": "work", "group_id": self.group_id,
            "amqtask_chord": {"queue": self.queue, "size": size, "deadline": int(time.time() + deadline)},
        }  # fmt: skip
        place.admin.declare(QueueDeclare(self.queue))
        for number in done:
            properties = Properties("application/json", "utf-8", {"group_index": number}, message_id=f"m{number}")
            result = f'[1, "m{number}", "SUCCESS", {number}]'.encode()
            place.admin.publish(Outgoing("", self.queue, properties, result))


def test_watch_finds_a_chord_that_nobody_looked_at(place):
    counted = Counted(place, 3, done=[2, 0, 1, 1])
    with place.worker():
        watch(place, counted.body)
        wait_for(lambda: place.bodies == [[0, 1, 2]])
        wait_for(lambda: not place.chord_queues(counted.group_id))


def test_watch_of_a_chord_that_is_over_ends(place):
    counted = Counted(place, 3, done=[])
    place.admin.delete_queue(counted.queue)
    with place.worker() as worker:
        watch(place, counted.body)
        wait_for(lambda: worker.counts.received == 1 and not worker.busy)
    state = place.admin.queue_state("work")
    assert state is not None
    assert state.ready == 0


def test_watch_of_an_incomplete_chord_goes_on_and_duplicates_alone_run_no_body(place):
    counted = Counted(place, 2, done=[0, 0, 0])
    with place.worker() as worker:
        watch(place, counted.body)
        wait_for(lambda: place.admin.queue_state(counted.queue).ready == 1)
        wait_for(lambda: not worker.busy)
        assert place.bodies == []
        waits = [f"amqtask.delay.{level}.{digit}" for level in range(4) for digit in range(16)]
        held = [place.admin.queue_state(name) for name in waits]
        assert sum(state.ready for state in held if state is not None) == 1, "the next look, in a minute"


def test_body_fails_after_the_deadline_and_a_late_member_is_let_go(place):
    counted = Counted(place, 3, done=[0, 1], deadline=-1.0)
    with place.worker() as worker:
        watch(place, counted.body)
        wait_for(lambda: not place.chord_queues(counted.group_id))
        late = place.add.s(1)
        late["options"]["chord"] = counted.body
        late.apply_async(group_id=counted.group_id, group_index=2)
        wait_for(lambda: worker.counts.ended.get(Kind.SUCCESS) == 1 and not worker.busy)
    assert place.bodies == []


def test_watch_that_can_not_be_read_is_dead_lettered(place):
    with place.worker():
        watch(place, {"task": "body"})
        wait_for(lambda: (state := place.admin.queue_state("work.dead")) is not None and state.ready == 1)


def test_backend_that_counts_is_asked_until_it_answers(vhost_url, monkeypatch):
    monkeypatch.setattr(backlog, "RETRY_FIRST", 0.02)
    place = Place(vhost_url, backend="file:///nowhere")
    kept = keep_in(place.app, Kept(chords=True))
    try:
        with place.worker():
            first = chord([place.add.s(1), place.add.s(2)], place.body.s()).apply_async()
            wait_for(lambda: place.bodies == [[2, 3]])
            second = chord([place.again.s(1), place.add.s(2)], place.body.s()).apply_async()
            kept.down = True
            wait_for(lambda: kept.failures > 3)
            kept.down = False
            wait_for(lambda: place.bodies[1:] == [[1, 3]])
            wait_for(lambda: kept.chords.dispatched_groups == [header_id(first), header_id(second)])
    finally:
        place.close()
