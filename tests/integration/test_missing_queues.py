"""What a worker does when the queue or the exchange of what follows from a task does not exist."""

from __future__ import annotations

from waiting import wait_for

from amqtask import Amqtask, Middleware, Queue
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.canvas.chain import chain
from amqtask.execution.job import Kind
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

COUNT = 40


def test_wrong_names_dead_letter_the_tasks_they_follow_from_and_hold_up_nobody_else(vhost_url, caplog):
    app = Amqtask("guest", broker=vhost_url, backend="rpc://", task_queues=[Queue("work", type="classic")])

    @app.task(name="add", queue="work")
    def add(left, right):
        return left + right

    class Alarm(Middleware):
        def on_dead(self, attempt):
            told.append(attempt)

    told = []
    app.middleware.add(Alarm())
    requested = Requested(pool="threads", concurrency=2, queues=["work"], prefetch=8)
    with EmbeddedWorker(app, resolve(requested, app.topology, app.settings)) as worker:
        for _ in range(COUNT):
            chain(add.s(1, 1), add.s(2).set(queue="typo"))()
            chain(add.s(1, 1), add.s(2).set(exchange="nope", routing_key="x"))()
        chain(add.s(1, 1), add.s(2).set(queue="later", countdown=0.1))()
        assert add.delay(3, 4).get(timeout=60) == 7
        admin = Admin(app.broker_urls, app.connection_options)
        letters = DeadLetters(admin, "work")
        # by id: a wrong exchange closes a channel, and what was not confirmed there is sent again
        wait_for(lambda: len({one.id for one in letters.read()}) == 2 * COUNT + 1, interval=0.2)
        dead = {one.id: one for one in letters.read()}.values()
        assert worker.counts.dead == len(dead)
        assert worker.counts.ended == {Kind.SUCCESS: 1, Kind.FAILED: len(dead)}
        wait_for(lambda: len(told) == len(dead))
    assert {(one.reason, one.delay) for one in told} == {("unsendable", None)}
    assert {one.task_id for one in told} == {one.id for one in dead}
    admin.close()
    app.close()
    assert {one.reason for one in dead} == {"unsendable"}
    texts = [one.message or "" for one in dead]
    for text in ("queue 'typo' does not exist and is not declared", "exchange 'nope' is not declared"):
        assert sum(text in one for one in texts) == COUNT, texts[:2]
    assert sum("queue 'later' does not exist" in one for one in texts) == 1
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2 * COUNT + 1 + 3, errors[:5]  # one for each, and the first time that a place is missed
