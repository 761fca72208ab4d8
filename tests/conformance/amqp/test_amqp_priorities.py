"""Which message comes first."""

from __future__ import annotations

import time

from amqp_client import QUORUM, Client, Inbox, Server, put, size, take, take_all, wait_size
from pika.adapters.blocking_connection import BlockingChannel
from waiting import wait_for


def prioritised(channel: BlockingChannel, *priorities: int | None) -> None:
    """Publish messages named like their priorities."""
    for number, priority in enumerate(priorities):
        put(channel, "q", f"{priority}.{number}", priority=priority)


def taken(channel: BlockingChannel) -> list[str]:
    return [body.decode() for body in take_all(channel, "q")]


def classic(channel: BlockingChannel, most: int = 10) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-max-priority": most})


def quorum(channel: BlockingChannel) -> None:
    channel.queue_declare("q", durable=True, arguments=QUORUM)


def test_higher_priorities_come_first_and_equals_in_order(channel: BlockingChannel) -> None:
    classic(channel)
    prioritised(channel, 1, 5, 3, 5, 1, 9)
    assert taken(channel) == ["9.5", "5.1", "5.3", "3.2", "1.0", "1.4"]


def test_no_priority_is_the_lowest(channel: BlockingChannel) -> None:
    classic(channel)
    prioritised(channel, None, 0, 1, None)
    assert taken(channel) == ["1.2", "None.0", "0.1", "None.3"]


def test_priorities_above_the_most_are_the_most(channel: BlockingChannel) -> None:
    classic(channel, most=3)
    prioritised(channel, 3, 255, 2, 4)
    assert taken(channel) == ["3.0", "255.1", "4.3", "2.2"]


def test_a_classic_queue_without_the_argument_knows_no_priorities(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    prioritised(channel, 1, 9, 5)
    assert taken(channel) == ["1.0", "9.1", "5.2"]


def test_readers_see_the_priority_that_was_set(channel: BlockingChannel) -> None:
    classic(channel, most=3)
    put(channel, "q", "x", priority=200)
    assert take(channel, "q").properties.priority == 200


def test_a_returned_message_keeps_its_priority(channel: BlockingChannel) -> None:
    classic(channel)
    prioritised(channel, 5, 5, 1)
    held = take(channel, "q", ack=False)
    prioritised(channel, 9)
    channel.basic_nack(held.tag)
    wait_size(channel, "q", 4)
    assert taken(channel) == ["9.0", "5.0", "5.1", "1.2"]


def test_a_full_queue_drops_the_highest_priority_first_as_that_is_its_head(channel: BlockingChannel) -> None:
    channel.queue_declare("q", arguments={"x-max-priority": 5, "x-max-length": 2})
    prioritised(channel, 5, 1, 3)
    assert taken(channel) == ["3.2", "1.1"]


def test_a_message_does_not_expire_behind_a_higher_priority(client: Client, channel: BlockingChannel) -> None:
    classic(channel)
    plain = client.channel()  # which does not wait for confirms: "low" is not to expire while it is alone
    begin = time.monotonic()
    put(plain, "q", "low", expiration="1000", priority=1)
    put(plain, "q", "high", priority=9)
    put(plain, "q", "higher", expiration="100", priority=10)
    plain.close()
    wait_size(channel, "q", 2)
    wait_for(lambda: time.monotonic() - begin > 1.2)  # nothing may happen
    assert size(channel, "q") == 2
    assert take(channel, "q").body == b"high"
    wait_size(channel, "q", 0)


def test_a_consumer_gets_the_highest_priority_next(client: Client, channel: BlockingChannel) -> None:
    classic(channel)
    other = client.channel(prefetch=1)
    prioritised(channel, 1, 2)
    inbox = Inbox(other, "q", ack=True)
    inbox.wait(2)
    assert inbox.bodies == [b"2.1", b"1.0"]


def test_many_messages_of_many_priorities(channel: BlockingChannel, client: Client) -> None:
    classic(channel, most=255)
    plain, count = client.channel(), 1000
    for number in range(count):
        put(plain, "q", f"{number:05}", priority=number % 7)
    plain.close()
    wait_size(channel, "q", count)
    bodies = [int(body) for body in take_all(channel, "q")]
    assert bodies == sorted(bodies, key=lambda number: (-(number % 7), number))


# -- quorum queues ------------------------------------------------------------------------------


def test_quorum_queues_order_by_priority(channel: BlockingChannel, server: Server) -> None:
    quorum(channel)
    prioritised(channel, 1, 5, 3, 9, 1)
    order = taken(channel)
    if server.version >= (4, 3):  # strictly
        assert order == ["9.3", "5.1", "3.2", "1.0", "1.4"]
    elif server.version >= (4, 0):  # two classes, two of the high one for each of the normal one
        assert order == ["5.1", "9.3", "1.0", "3.2", "1.4"]
    else:
        assert order == ["1.0", "5.1", "3.2", "9.3", "1.4"]


def test_quorum_queues_take_no_priority_as_four(channel: BlockingChannel, server: Server) -> None:
    quorum(channel)
    prioritised(channel, 3, 4, None, 5, 4)
    order = taken(channel)
    if server.version >= (4, 3):
        assert order == ["5.3", "4.1", "None.2", "4.4", "3.0"]
    else:
        assert sorted(order) == ["3.0", "4.1", "4.4", "5.3", "None.2"]


def test_quorum_queues_know_32_priorities(channel: BlockingChannel, server: Server) -> None:
    quorum(channel)
    prioritised(channel, 31, 32, 200, 30)
    order = taken(channel)
    if server.version >= (4, 3):
        assert order == ["31.0", "32.1", "200.2", "30.3"]
    else:
        assert len(order) == 4


def test_messages_returned_to_a_quorum_queue_come_first_and_in_order(channel: BlockingChannel, server: Server) -> None:
    quorum(channel)
    prioritised(channel, 1, 1, 5)
    held = [take(channel, "q", ack=False) for _ in range(3)]
    prioritised(channel, 9)
    channel.basic_nack(held[-1].tag, multiple=True)
    wait_size(channel, "q", 4)
    order = taken(channel)
    if server.version >= (4, 3):
        assert order == ["5.2", "1.0", "1.1", "9.0"]
    else:
        assert len(order) == 4
