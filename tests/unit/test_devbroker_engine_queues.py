"""Queues of the dev broker: order, consumers, settling and returned messages, without the protocol."""

from __future__ import annotations

import pytest
from engine_bench import Bench, Subscriber, properties

from amqtask.testing.devbroker.engine.errors import ChannelFault

KINDS = pytest.mark.parametrize("quorum", [False, True], ids=["classic", "quorum"])


@pytest.fixture
def bench():
    return Bench()


@KINDS
def test_messages_leave_in_the_order_they_came(bench, quorum):
    bench.queue("q", quorum=quorum)
    bench.publish("q", *"abc")
    assert bench.bodies("q") == ["a", "b", "c"]


@KINDS
def test_a_waiting_consumer_gets_a_message_at_once(bench, quorum):
    consumer = Subscriber(bench.queue("q", quorum=quorum))
    bench.publish("q", "a")
    assert consumer.bodies == ["a"]
    assert (consumer.queue.ready_count, consumer.queue.unacked_count) == (0, 1)
    consumer.ack()
    assert consumer.queue.unacked_count == 0
    assert bench.memory.used == 0


@KINDS
def test_a_consumer_without_acks_leaves_nothing_behind(bench, quorum):
    queue = bench.queue("q", quorum=quorum)
    bench.publish("q", "a")
    consumer = Subscriber(queue, no_ack=True)
    bench.publish("q", "b")
    assert consumer.bodies == ["a", "b"]
    assert (queue.ready_count, queue.unacked_count, bench.memory.used) == (0, 0, 0)


def test_consumers_take_turns(bench):
    queue = bench.queue("q")
    consumers = [Subscriber(queue) for _ in range(3)]
    bench.publish("q", *"abcdef")
    assert [consumer.bodies for consumer in consumers] == [["a", "d"], ["b", "e"], ["c", "f"]]


def test_a_full_consumer_is_passed_over(bench):
    queue = bench.queue("q")
    narrow, wide = Subscriber(queue, prefetch=1), Subscriber(queue, prefetch=3)
    bench.publish("q", *"abcde")
    assert (narrow.bodies, wide.bodies) == (["a"], ["b", "c", "d"])
    narrow.ack()
    assert narrow.bodies == ["a", "e"]


@pytest.mark.parametrize(("quorum", "next_one"), [(False, "first"), (True, "second")], ids=["classic", "quorum"])
def test_who_has_room_again_is_last_in_line_if_it_had_left_it(bench, quorum, next_one):
    # As measured: a quorum queue takes a full consumer out of the line at once, a classic one when its turn comes.
    queue = bench.queue("q", quorum=quorum)
    first = Subscriber(queue, prefetch=1)
    bench.publish("q", "a")
    second = Subscriber(queue, prefetch=1)
    first.ack()
    bench.publish("q", "b")
    assert {"first": first, "second": second}[next_one].bodies[-1] == "b"


def test_the_consumer_with_the_highest_priority_goes_first_while_it_has_room(bench):
    queue = bench.queue("q")
    low, high = Subscriber(queue, prefetch=2), Subscriber(queue, prefetch=2, priority=5)
    bench.publish("q", *"abcde")
    assert (high.bodies, low.bodies) == (["a", "b"], ["c", "d"])


def test_an_exclusive_consumer_stays_alone_on_a_classic_queue(bench):
    queue = bench.queue("q")
    Subscriber(queue, exclusive=True)
    with pytest.raises(ChannelFault, match="ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"):
        Subscriber(queue)


def test_an_exclusive_consumer_does_not_join_others(bench):
    queue = bench.queue("q")
    Subscriber(queue)
    with pytest.raises(ChannelFault, match="in exclusive use"):
        Subscriber(queue, exclusive=True)


# -- returned messages


def test_a_classic_queue_puts_returned_messages_where_they_were(bench):
    queue = bench.queue("q")
    bench.publish("q", *"abcdef")
    entries = [queue.get(False)[0] for _ in range(4)]
    queue.requeue([entries[2]], failed=False)
    queue.requeue([entries[0], entries[1]], failed=False)
    assert bench.bodies("q") == ["a", "b", "c", "e", "f"]
    queue.requeue([entries[3]], failed=False)
    assert bench.bodies("q") == ["d"]


def test_a_classic_queue_inserts_a_message_between_others(bench):
    queue = bench.queue("q")
    bench.publish("q", *"abc")
    entries = [queue.get(False)[0] for _ in range(3)]
    for index in (0, 2, 1):
        queue.requeue([entries[index]], failed=False)
    assert bench.bodies("q") == ["a", "b", "c"]


def test_a_quorum_queue_hands_out_returned_messages_first_in_the_order_of_their_return(bench):
    queue = bench.queue("q", quorum=True)
    bench.publish("q", *"abc")
    entries = [queue.get(False)[0] for _ in range(3)]
    for index in (2, 0, 1):
        queue.requeue([entries[index]], failed=False)
    bench.publish("q", "urgent", priority=31)
    assert bench.bodies("q") == ["c", "a", "b", "urgent"]


@KINDS
def test_a_returned_message_is_redelivered(bench, quorum):
    queue = bench.queue("q", quorum=quorum)
    bench.publish("q")
    entry, left = queue.get(False)
    assert (entry.redelivered, left) == (False, 0)
    queue.requeue([entry], failed=False)
    assert queue.get(False)[0].redelivered


def test_a_quorum_queue_counts_returns_and_failures(bench):
    consumer = Subscriber(bench.queue("q", quorum=True), prefetch=1)
    bench.publish("q", headers={"kept": 1, "x-acquired-count": 7})
    consumer.requeue(failed=False)
    consumer.requeue(failed=True)
    seen = [properties(message).headers for message in consumer.got]
    assert seen == [
        {"kept": 1, "x-acquired-count": 7},
        {"kept": 1, "x-acquired-count": 1},
        {"kept": 1, "x-acquired-count": 2, "x-delivery-count": 1},
    ]


def test_a_classic_queue_adds_no_counts(bench):
    consumer = Subscriber(bench.queue("q"), prefetch=1)
    bench.publish("q")
    consumer.requeue(failed=True)
    assert consumer.got[0] is consumer.got[1]


@pytest.mark.parametrize(("limit", "deliveries"), [({}, 21), ({"delivery_limit": 0}, 1), ({"delivery_limit": 2}, 3)])
def test_a_message_is_gone_after_too_many_failures(bench, limit, deliveries):
    consumer = Subscriber(bench.queue("q", quorum=True, **limit), prefetch=1)
    bench.publish("q")
    for _ in range(deliveries):
        consumer.requeue(failed=True)
    assert len(consumer.got) == deliveries
    assert bench.memory.used == 0


def test_returns_without_failure_and_an_unlimited_queue_go_on_for_ever(bench):
    bench.queue("limited", quorum=True, delivery_limit=1)
    bench.queue("unlimited", quorum=True, delivery_limit=-1)
    for name, failed in (("limited", False), ("unlimited", True)):
        consumer = Subscriber(bench.vhost.queues[name], prefetch=1)
        bench.publish(name)
        for _ in range(50):
            consumer.requeue(failed=failed)
        assert len(consumer.got) == 51


def test_settling_twice_does_nothing(bench):
    queue = bench.queue("q")
    bench.publish("q")
    entry, _ = queue.get(False)
    queue.ack(entry)
    queue.ack(entry)
    queue.reject(entry, failed=True)
    queue.requeue([entry], failed=False)
    assert (queue.ready_count, queue.unacked_count, bench.memory.used) == (0, 0, 0)


@pytest.mark.parametrize(
    ("how", "failed", "pauses"), [("failed", True, [1, 2, 3, 3]), ("returned", False, [1, 1]), ("all", True, [1, 2])]
)
def test_returned_messages_wait_where_the_queue_delays_retries(bench, how, failed, pauses):
    queue = bench.queue("q", quorum=True, delayed_retry_type=how, delayed_retry_min=1000, delayed_retry_max=3000)
    consumer = Subscriber(queue, prefetch=1)
    bench.publish("q")
    for number, pause in enumerate(pauses, 1):
        consumer.requeue(failed=failed)
        bench.advance(pause - 0.01)
        assert len(consumer.got) == number
        bench.advance(0.02)
        assert len(consumer.got) == number + 1


def test_returns_of_the_other_kind_do_not_wait(bench):
    queue = bench.queue("q", quorum=True, delayed_retry_type="failed", delayed_retry_min=1000)
    consumer = Subscriber(queue, prefetch=1)
    bench.publish("q")
    consumer.requeue(failed=False)
    assert len(consumer.got) == 2


# -- priorities


def test_a_classic_queue_serves_high_priorities_first_up_to_its_maximum(bench):
    bench.queue("q", max_priority=5)
    for body, priority in (("none", None), ("one", 1), ("nine", 9), ("five", 5), ("zero", 0)):
        bench.publish("q", body, priority=priority)
    assert bench.bodies("q") == ["nine", "five", "one", "none", "zero"]


def test_a_classic_queue_without_a_maximum_knows_no_priorities(bench):
    bench.queue("q")
    bench.publish("q", "a", priority=1)
    bench.publish("q", "b", priority=9)
    assert bench.bodies("q") == ["a", "b"]


def test_a_quorum_queue_has_32_priorities_and_none_means_4(bench):
    bench.queue("q", quorum=True)
    for index, priority in enumerate([None, 3, 4, 5, 31, 40, 0, None]):
        bench.publish("q", str(index), priority=priority)
    assert bench.bodies("q") == ["4", "5", "3", "0", "2", "7", "1", "6"]


def test_a_returned_message_keeps_its_priority_on_a_classic_queue(bench):
    queue = bench.queue("q", max_priority=9)
    bench.publish("q", "high", priority=9)
    entry, _ = queue.get(False)
    bench.publish("q", "low", priority=1)
    bench.publish("q", "high2", priority=9)
    queue.requeue([entry], failed=False)
    assert bench.bodies("q") == ["high", "high2", "low"]


# -- single active consumer


@KINDS
def test_only_the_active_consumer_gets_messages_and_the_next_takes_over(bench, quorum):
    queue = bench.queue("q", quorum=quorum, single_active_consumer=True)
    first, second = Subscriber(queue), Subscriber(queue)
    bench.publish("q", *"ab")
    assert (first.bodies, second.bodies) == (["a", "b"], [])
    first.leave()
    assert second.bodies == ["a", "b"]


def test_the_next_active_consumer_is_the_one_with_the_highest_priority(bench):
    queue = bench.queue("q", single_active_consumer=True)
    first, low, high = (Subscriber(queue, priority=priority) for priority in (1, 0, 9))
    bench.publish("q", "a")
    first.leave()
    assert (low.bodies, high.bodies) == ([], ["a"])


def test_a_higher_priority_takes_over_a_quorum_queue_once_everything_is_settled(bench):
    queue = bench.queue("q", quorum=True, single_active_consumer=True)
    bench.publish("q", *"abcd")
    first = Subscriber(queue, prefetch=2)
    second = Subscriber(queue, prefetch=1, priority=5)
    first.ack()
    assert (first.bodies, second.bodies) == (["a", "b"], [])
    first.ack()
    assert (first.bodies, second.bodies) == (["a", "b"], ["c"])


def test_a_higher_priority_takes_over_an_idle_quorum_queue_at_once(bench):
    queue = bench.queue("q", quorum=True, single_active_consumer=True)
    first, second = Subscriber(queue), Subscriber(queue, priority=5)
    bench.publish("q", "a")
    assert (first.bodies, second.bodies) == ([], ["a"])


def test_a_higher_priority_does_not_take_over_a_classic_queue(bench):
    queue = bench.queue("q", single_active_consumer=True)
    first, second = Subscriber(queue), Subscriber(queue, priority=5)
    bench.publish("q", "a")
    assert (first.bodies, second.bodies) == (["a"], [])


def test_a_returned_message_reaches_the_consumer_that_takes_over(bench):
    queue = bench.queue("q", quorum=True, single_active_consumer=True)
    bench.publish("q", *"ab")
    first = Subscriber(queue, prefetch=1)
    second = Subscriber(queue, prefetch=1, priority=5)
    first.requeue()
    assert (first.bodies, second.bodies) == (["a"], ["a"])


def test_getting_from_a_quorum_queue_with_a_single_active_consumer_is_refused(bench):
    queue = bench.queue("q", quorum=True, single_active_consumer=True)
    with pytest.raises(ChannelFault, match="RESOURCE_LOCKED - cannot obtain access to locked queue 'q'"):
        queue.get(True)
