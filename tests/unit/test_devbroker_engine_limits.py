"""Queues of the dev broker: limits, time and endings, without the protocol."""

from __future__ import annotations

import gc

import pytest
from engine_bench import Bench, Subscriber, content_header

from amqtask.testing.devbroker.engine.memory import Memory
from amqtask.testing.devbroker.engine.message import Message
from amqtask.testing.devbroker.engine.queues import Queue
from amqtask.testing.devbroker.engine.vhost import VHost

KINDS = pytest.mark.parametrize("quorum", [False, True], ids=["classic", "quorum"])


@pytest.fixture
def bench():
    return Bench()


# -- limits


@KINDS
def test_a_full_queue_drops_its_oldest_messages(bench, quorum):
    bench.queue("q", quorum=quorum, max_length=2)
    assert bench.publish("q", *"abcd").accepted
    assert bench.bodies("q") == ["c", "d"]
    assert bench.memory.used == 0


def test_a_full_classic_queue_refuses_and_takes_again_when_there_is_room(bench):
    bench.queue("q", max_length=2, overflow="reject-publish")
    assert [bench.publish("q", body).accepted for body in "abcd"] == [True, True, False, False]
    assert bench.take("q").body == b"a"
    assert bench.publish("q", "e").accepted
    assert bench.bodies("q") == ["b", "e"]


def test_a_full_quorum_queue_takes_one_too_many_and_reopens_at_four_fifths(bench):
    bench.queue("q", quorum=True, max_length=5, overflow="reject-publish")
    assert [bench.publish("q", body).accepted for body in "abcdefgh"] == [True] * 6 + [False] * 2
    bench.take("q")
    assert not bench.publish("q").accepted
    bench.take("q")
    assert bench.publish("q").accepted


def test_bytes_are_limited_by_bodies(bench):
    bench.queue("q", max_length_bytes=10)
    bench.publish("q", "12345", "67890", "1")
    assert bench.bodies("q") == ["67890", "1"]
    bench.publish("q", "more than fits")
    assert bench.bodies("q") == []


def test_bytes_of_a_quorum_queue_include_the_properties(bench):
    bench.queue("q", quorum=True, max_length_bytes=10, overflow="reject-publish")
    assert [bench.publish("q", body).accepted for body in ("12345", "67890", "1")] == [True, True, False]


def test_a_queue_of_length_zero_passes_messages_only_to_waiting_consumers(bench):
    queue = bench.queue("q", max_length=0)
    bench.publish("q", "lost")
    consumer = Subscriber(queue)
    bench.publish("q", "seen")
    assert consumer.bodies == ["seen"]


@KINDS
def test_unsettled_messages_do_not_count_but_returned_ones_do(bench, quorum):
    queue = bench.queue("q", quorum=quorum, max_length=2)
    bench.publish("q", *"ab")
    entries = [queue.get(False)[0] for _ in range(2)]
    bench.publish("q", *"cd")
    queue.requeue(entries, failed=False)
    assert bench.bodies("q") == ["c", "d"]


# -- time


@KINDS
def test_messages_expire_by_the_shorter_of_both_times(bench, quorum):
    queue = bench.queue("q", quorum=quorum, message_ttl=1000)
    bench.publish("q", "short", expiration="300")
    bench.publish("q", "long", expiration="5000")
    bench.advance(0.31)
    assert queue.ready_count == 1
    bench.advance(0.7)
    assert queue.ready_count == 0
    assert bench.memory.used == 0


@KINDS
def test_a_message_behind_another_expires_only_at_the_head(bench, quorum):
    queue = bench.queue("q", quorum=quorum)
    bench.publish("q", "a")
    bench.publish("q", "b", expiration="100")
    bench.advance(10)
    assert queue.ready_count == 2
    assert bench.bodies("q") == ["a"]


def test_every_priority_of_a_quorum_queue_has_a_head_that_expires(bench):
    bench.queue("q", quorum=True)
    bench.publish("q", "high", priority=9)
    bench.publish("q", "low", priority=1, expiration="100")
    bench.advance(1)
    assert bench.bodies("q") == ["high"]


def test_a_classic_queue_has_one_head_whatever_the_priority(bench):
    queue = bench.queue("q", max_priority=9)
    bench.publish("q", "high", priority=9)
    bench.publish("q", "low", priority=1, expiration="100")
    bench.advance(1)
    assert queue.ready_count == 2
    bench.take("q")
    assert queue.ready_count == 0


@KINDS
def test_a_time_to_live_of_zero_reaches_only_waiting_consumers(bench, quorum):
    queue = bench.queue("q", quorum=quorum, message_ttl=0)
    bench.publish("q", "lost")
    assert queue.ready_count == 0
    consumer = Subscriber(queue)
    bench.publish("q", "seen")
    assert consumer.bodies == ["seen"]


@KINDS
def test_a_message_that_expires_while_it_is_out_goes_when_it_comes_back(bench, quorum):
    queue = bench.queue("q", quorum=quorum, message_ttl=100)
    bench.publish("q")
    entry, _ = queue.get(False)
    bench.advance(1)
    queue.requeue([entry], failed=False)
    assert queue.ready_count == 0


@KINDS
def test_a_message_that_came_back_expires_at_its_old_time(bench, quorum):
    queue = bench.queue("q", quorum=quorum, message_ttl=1000)
    bench.publish("q")
    entry, _ = queue.get(False)
    bench.advance(0.9)
    queue.requeue([entry], failed=False)
    assert queue.ready_count == 1
    bench.advance(0.2)
    assert queue.ready_count == 0


@KINDS
def test_an_unused_queue_expires(bench, quorum):
    bench.queue("q", quorum=quorum, expires=1000)
    bench.publish("q", "publishing is no use")
    bench.advance(0.9)
    bench.publish("q")
    bench.advance(0.2)
    assert "q" not in bench.vhost.queues
    assert bench.memory.used == 0


@KINDS
@pytest.mark.parametrize("use", ["get", "redeclare", "look"])
def test_use_keeps_a_queue_from_expiring(bench, quorum, use):
    queue = bench.queue("q", quorum=quorum, expires=1000)
    for _ in range(5):
        bench.advance(0.8)
        if use == "get":
            queue.get(True)
        elif use == "redeclare":
            bench.queue("q", quorum=quorum, expires=1000)
        else:
            bench.declare("q", passive=True)
    assert "q" in bench.vhost.queues


def test_a_queue_with_consumers_does_not_expire(bench):
    consumer = Subscriber(bench.queue("q", expires=1000))
    bench.advance(5)
    assert "q" in bench.vhost.queues
    consumer.leave()
    bench.advance(0.9)
    assert "q" in bench.vhost.queues
    bench.advance(0.2)
    assert "q" not in bench.vhost.queues


# -- endings


def test_a_deleted_queue_cancels_its_consumers_and_gives_memory_back(bench):
    queue = bench.queue("q")
    consumer = Subscriber(queue, prefetch=1)
    bench.publish("q", *"abc")
    assert bench.vhost.queue_delete("q", bench.me) == 2
    assert consumer.is_cancelled
    assert bench.memory.used == 0
    consumer.ack()
    consumer.leave()
    assert bench.memory.used == 0


def test_purging_leaves_unsettled_messages(bench):
    queue = bench.queue("q")
    bench.publish("q", *"abc")
    queue.get(False)
    assert bench.vhost.queue_purge("q", bench.me) == 2
    assert (queue.ready_count, queue.unacked_count) == (0, 1)


def test_an_auto_delete_queue_goes_with_its_last_consumer(bench):
    queue = bench.declare("q", auto_delete=True)
    first, second = Subscriber(queue), Subscriber(queue)
    first.leave()
    assert "q" in bench.vhost.queues
    second.leave()
    assert "q" not in bench.vhost.queues


def test_memory_reports_when_it_is_over_its_limit_and_when_there_is_room_again():
    bench, told = Bench(memory_limit=10_000), []
    bench.memory.on_change = told.append
    bench.queue("q")
    bench.publish("q", "x" * 8000)
    assert not told
    bench.publish("q", "x" * 8000)
    assert told == [True]
    bench.take("q")
    assert told == [True, False]
    assert not bench.memory.over


def test_vhosts_come_and_go_without_growth(bench):
    memory = Memory()
    before = count_queues()
    for number in range(200):
        vhost = VHost(f"v{number}", bench.scheduler, memory)
        queue = vhost.queue_declare("q", None, durable=True, arguments={"x-expires": 10**9, "x-message-ttl": 10**9})
        Subscriber(queue)
        vhost.exchange_declare("x", "topic")
        vhost.queue_bind("q", "x", "a.#", None, None)
        vhost.publish(Message("x", "a", content_header(), b""))
        vhost.close()
    del vhost, queue
    assert count_queues() == before
    assert len(bench.scheduler._timers) < 200
    assert memory.used == 0


def count_queues():
    gc.collect()
    return sum(isinstance(one, Queue) for one in gc.get_objects())


def test_a_consumer_that_keeps_a_message_too_long_is_cancelled(bench):
    queue = bench.queue("q", quorum=True, consumer_timeout=1000)
    slow, other = Subscriber(queue, prefetch=2), Subscriber(queue, prefetch=1)
    bench.publish("q", *"ab")
    other.ack()
    bench.advance(0.6)
    bench.publish("q", "c")
    bench.advance(0.5)
    assert slow.is_cancelled
    assert not other.is_cancelled
    assert (slow.bodies, other.bodies) == (["a", "c"], ["b", "a"])
    slow.ack(0)  # too late
    slow.ack(0)
    assert queue.unacked_count == 1
    other.ack()
    assert bench.memory.used == 0
    bench.advance(10)
    assert not other.is_cancelled
