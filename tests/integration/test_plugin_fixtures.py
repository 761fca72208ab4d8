"""The fixtures of the pytest plugin, used by tests as users write them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest.mock import ANY

import pika
import plugin_app
import pytest
from plugin_app import app, early, ends, fails, fan, old, resize, send, waits
from waiting import wait_for

from amqtask import ConfigError, PublishTimeout, QueueFull, TopologyError, Unroutable
from amqtask.broker.admin import Admin
from amqtask.errors import AmqtaskError
from amqtask.wire.message import Outgoing, Properties


@pytest.fixture
def amqtask_app_path():
    return "plugin_app"


@pytest.fixture
def drain(drain):
    """With more patience than people have with a test."""
    return partial(drain, timeout=60)


@pytest.fixture(autouse=True)
def _clean():
    plugin_app.runs.clear()
    plugin_app.gate.clear()
    yield
    plugin_app.gate.set()


# -- published


def test_published_returns_what_fits_with_everything_a_worker_will_read(published):
    send.apply_async(("ada",), {"copies": 2}, priority=7, headers={"tenant": 4}, countdown=60)
    [one] = published(task="mail.send", args=("ada",), kwargs={"copies": 2}, queue="emails", count=1)
    assert (one.task, one.args, one.kwargs, one.queues) == ("mail.send", ("ada",), {"copies": 2}, ("emails",))
    assert (one.priority, one.headers, one.retries) == (7, {"tenant": 4}, 0)
    assert one.eta > datetime.now(UTC) + timedelta(seconds=50)
    assert one.exchange.startswith("amqtask.delay.")


def test_published_takes_the_task_itself_and_matchers(published):
    send.delay(("a", [1, 2]), copies={"x": (1,)})
    assert published(task=send, args=[("a", (1, 2))], kwargs={"copies": {"x": [1]}})
    assert published(task=send, args=(ANY,), kwargs={"copies": ANY})


def test_published_compares_values_as_they_arrive(amqtask_app, published):
    send.apply_async(({3},), serializer="json")  # a set becomes a list in JSON
    assert published(args=({3},))


def test_published_says_what_there_was_instead(published):
    with pytest.raises(AssertionError, match="no message of any task was published; nothing was published at all"):
        published()
    send.delay("ada", copies=2)
    send.apply_async(("x" * 500,), countdown=5)
    with pytest.raises(AssertionError) as caught:
        published(task="mail.sent", args=("ada",), kwargs={}, queue="emails")
    first, *lines = str(caught.value).splitlines()
    assert first == (
        "no message for task 'mail.sent' with args ('ada',) with kwargs {} to queue 'emails' was published; there are:"
    )
    assert lines[0] == "  1. mail.send('ada', copies=2) -> emails"
    assert len(lines[1]) < 200
    assert "not before" in lines[1]


def test_published_counts(published, assert_enqueued):
    assert published(count=0) == []
    send.delay_many([("a",), ("b",), ("a",)])
    assert len(assert_enqueued(args=("a",), count=2)) == 2
    with pytest.raises(AssertionError, match="3 messages instead of 1 for task 'mail.send' was published"):
        published(task=send, count=1)


def test_published_counts_a_task_once_however_often_it_is_sent_again(published, drain, amqtask_clock):
    fails.delay(1)
    drain()
    amqtask_clock.advance(5)
    drain()
    published(task=fails, count=1)
    assert [one.retries for one in published.list(fails, again=True)][:3] == [0, 1, 2]


def test_message_that_the_broker_did_not_take_was_not_published(amqtask_broker, published):
    with pytest.raises(Unroutable):
        send.apply_async(("x",), queue="nowhere")
    amqtask_broker.nack_publishes(100)
    with pytest.raises(QueueFull):
        send.delay("x")
    published(count=0)


def test_published_lists_messages_that_are_no_tasks(amqtask_broker, published):
    with Admin(app.broker_urls, app.connection_options) as admin:
        send.delay("x")
        admin.publish(Outgoing("", "emails", Properties("text/plain"), b"hello"))
    stray = published.list()[1]
    assert stray.task is None
    assert "a message that is not a task (not a task message" in str(stray)


def test_each_test_has_a_vhost_to_itself(amqtask_broker, published):
    assert published.list() == []
    assert amqtask_broker.queues(["emails", "files"]) == []


# -- the app


def test_app_is_pointed_to_the_vhost_and_comes_back(pytestconfig, amqtask_app, amqtask_broker):
    assert amqtask_app is app
    assert amqtask_app.conf.broker_url == (amqtask_broker.url,)
    send.delay("x")
    assert amqtask_broker.connections() == 1


def test_any_client_can_use_the_vhost(amqtask_app, amqtask_broker):
    send.delay("x")
    connection = pika.BlockingConnection(pika.URLParameters(amqtask_broker.url))
    method, _, body = connection.channel().basic_get("emails", auto_ack=True)
    assert (method.routing_key, body[:1]) == ("email.send", b"\x93")
    connection.close()


def test_coroutines_send_to_the_vhost_too(published, drain):
    async def main():
        await asyncio.gather(*(send.adelay(f"a{number}") for number in range(3)))

    asyncio.run(main())
    published(task=send, count=3)
    assert drain().succeeded == 3


# -- drain


@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo", "prefork"])
def test_drain_waits_for_everything_in_every_pool(amqtask_worker, drain, pool):
    amqtask_worker(pool=pool)
    fan.delay(20)
    assert drain(timeout=60).succeeded == 21


def test_drain_starts_a_worker_and_counts_from_the_last_drain(drain):
    assert drain().succeeded == 0
    send.delay("a")
    send.delay("b")
    assert (drain().succeeded, drain().succeeded) == (2, 0)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_drain_does_not_overlook_a_task_that_is_acked_and_still_runs(amqtask_worker, drain, pool):
    amqtask_worker(pool=pool)
    early.delay(10)
    assert drain(timeout=60).succeeded == 11


def test_drain_tells_how_attempts_ended(drain, dead):
    for how in ("ignored", "rejected", "failed"):
        ends.delay(how)
    fails.delay(1)
    done = drain()
    assert (done.succeeded, done.ignored, done.dead, done.retried, done.delayed) == (0, 1, 2, 1, 1)
    assert [letter.reason for letter in dead()] == ["rejected", "failed"]


def test_drain_says_what_is_left(amqtask_worker, drain):
    worker = amqtask_worker("files")
    waits.delay()
    waits.delay()
    send.delay("x")
    wait_for(lambda: worker.deeds.busy)
    with pytest.raises(AssertionError) as caught:
        drain(timeout=0.3)
    emails, files, running = str(caught.value).removeprefix("not drained after 0.3 s: ").split("; ")
    assert emails == "emails has 1 waiting and 0 in workers (no worker of this test consumes it)"
    assert files in ("files has 1 waiting and 1 in workers", "files has 0 waiting and 2 in workers")
    assert running == "1 tasks run"
    plugin_app.gate.set()


def test_drain_raises_why_a_worker_ended(amqtask_worker, drain):
    worker = amqtask_worker("files", pool="prefork")
    os.kill(worker.pid, signal.SIGKILL)
    send.delay("x")
    with pytest.raises(AmqtaskError, match="has ended"):
        drain()
    with pytest.raises(AmqtaskError, match="has ended"):
        worker.stop()


# -- workers


def test_worker_stops_by_itself_at_the_end_of_a_block(amqtask_worker, amqtask_broker):
    with amqtask_worker("files", concurrency=3, prefetch=7, order="strict") as worker:
        assert (worker.options.concurrency, worker.options.prefetch, worker.options.order) == (3, 7, "strict")
        assert worker.pid is None
        assert amqtask_broker.connections() == 2
    assert worker.stopped
    assert amqtask_broker.connections() == 0


def test_unknown_queue_is_named(amqtask_worker):
    with pytest.raises(TopologyError, match="did you mean 'emails'"):
        amqtask_worker("email")


def test_killed_worker_hands_on_what_it_held(amqtask_worker, amqtask_broker, drain):
    worker = amqtask_worker("files", pool="prefork")
    assert worker.pid
    waits.delay()
    wait_for(lambda: worker.deeds.busy)
    worker.kill()
    plugin_app.gate.set()
    assert drain().succeeded == 1


def test_child_that_dies_is_seen_by_the_worker(amqtask_worker, drain):
    amqtask_worker("files", pool="prefork")
    plugin_app.dies.delay()
    assert drain().succeeded == 1


def test_only_workers_with_a_process_can_be_killed(amqtask_worker):
    with pytest.raises(ConfigError, match="can't be killed"):
        amqtask_worker().kill()


# -- dead


def test_dead_lists_dead_letters_with_their_errors(dead, drain):
    ends.delay("failed")
    drain()
    [letter] = dead("files")
    assert (letter.task, letter.args, letter.queue, letter.reason) == ("ends", ("failed",), "files", "failed")
    assert (letter.error, letter.attempts) == ("ValueError: bad", 1)
    assert "plugin_app.py" in letter.traceback
    assert str(letter) == "ends('failed') in files, failed after 1 attempts: ValueError: bad"
    assert [one.id for one in dead()] == [letter.id]
    assert dead("emails") == []
    with pytest.raises(TopologyError, match="unknown queue 'file'"):
        dead("file")


# -- time


def test_clock_moves_delays_retries_and_expiry(amqtask_clock, drain, dead):
    before = amqtask_clock.now()
    send.apply_async(("later",), countdown=86_400)
    assert drain().delayed == 1
    amqtask_clock.advance(timedelta(days=1))
    assert drain().succeeded == 1
    assert amqtask_clock.now() - before > timedelta(days=1)
    fails.delay(1)
    for pause in (5, 30):
        assert drain().retried == 1
        amqtask_clock.advance(pause)
    assert drain().dead == 1
    resize.apply_async(("late",), countdown=50, expires=60)
    amqtask_clock.advance(61)
    assert drain().dead == 1
    assert dead("files")[0].reason == "expired"


def test_clock_is_right_again_in_the_next_test(amqtask_clock):
    before = time.time()
    assert before <= amqtask_clock.now().timestamp() <= time.time()
    with pytest.raises(ValueError, match="only goes forward"):
        amqtask_clock.advance(-1)


@pytest.mark.parametrize("first", ["clock", "worker"])
def test_clock_moves_processes_too(amqtask_worker, amqtask_clock, drain, dead, first):
    if first == "worker":
        amqtask_worker("files", pool="prefork")
    amqtask_clock.advance(100)
    if first == "clock":
        amqtask_worker("files", pool="prefork")
    resize.apply_async(("fine",), expires=60)
    assert drain().succeeded == 1


# -- tasks that run twice


@pytest.mark.redelivered
def test_marker_runs_each_task_twice(drain, dead):
    send.delay("quorum")
    old.delay("classic")
    assert drain().succeeded == 4
    assert plugin_app.runs.count("quorum") == plugin_app.runs.count("classic") == 2
    assert dead() == []


@pytest.mark.redelivered(times=2)
def test_marker_can_say_how_often(amqtask_worker, drain):
    amqtask_worker(pool="prefork")
    resize.delay("x")
    assert drain().succeeded == 3


def test_without_the_marker_a_task_runs_once(drain):
    send.delay("x")
    assert drain().succeeded == 1


# -- faults


def test_faults_hit_the_connections_of_the_test(amqtask_app, amqtask_broker, amqtask_worker, drain):
    amqtask_worker()
    send.delay("before")
    assert amqtask_broker.drop_connections() == 3
    amqtask_broker.cut_after_deliveries(1)
    send.delay("after")
    drain()
    assert {"before", "after"} <= set(plugin_app.runs)


def test_publisher_is_told_of_faults(amqtask_app, amqtask_broker):
    send.delay("declared")
    with app.rebound(broker_confirm_timeout=0.3, broker_url=amqtask_broker.url):
        wait_for(_sends)
        amqtask_broker.drop_confirms()
        with pytest.raises(PublishTimeout):
            send.delay("x")
        with amqtask_broker.frozen(), pytest.raises(AmqtaskError):
            send.delay("y")
        with amqtask_broker.refusing(), pytest.raises(AmqtaskError):
            send.delay("z")
    send.delay("after all")


def test_refused_message_is_sent_again(amqtask_app, amqtask_broker, drain):
    amqtask_broker.nack_publishes(2)
    send.delay("x")
    assert drain().succeeded == 1


def test_refusal_that_lasts_is_raised(amqtask_app, amqtask_broker):
    amqtask_broker.nack_publishes(100)
    with pytest.raises(QueueFull):
        send.delay("x")


def test_faults_end_with_the_test(amqtask_app, amqtask_broker):
    send.delay("x")


# -- eager


def test_eager_needs_no_broker(amqtask_eager):
    assert send.delay("x").get() == "x"
    with pytest.raises(OSError, match="smtp down"):
        fails.delay(1)
    assert len(plugin_app.runs) == 4  # the queue's policy: two retries


def _sends():
    try:
        send.delay("connected")
    except AmqtaskError:
        return False
    return True
