"""Which consumer gets the next message."""

from __future__ import annotations

import pytest
from amqp_client import QUORUM, Client, Inbox, put, refused, take
from pika.adapters.blocking_connection import BlockingChannel
from waiting import wait_for

KINDS = {"classic": {}, "quorum": QUORUM}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, channel: BlockingChannel) -> str:
    channel.queue_declare("q", durable=True, arguments=KINDS[request.param])
    return request.param


def all_arrived(client: Client, count: int, *inboxes: Inbox) -> list[int]:
    """Wait until so many messages have arrived in all; how many each has."""
    wait_for(lambda: client.process(0.02) or sum(len(one.got) for one in inboxes) >= count)
    return [len(one.got) for one in inboxes]


@pytest.mark.usefixtures("kind")
def test_consumers_take_turns(client: Client, channel: BlockingChannel) -> None:
    inboxes = [Inbox(client.channel(), "q", ack=True) for _ in range(3)]
    put(channel, "q", *"abcdefghi")
    assert all_arrived(client, 9, *inboxes) == [3, 3, 3]


@pytest.mark.usefixtures("kind")
def test_consumers_of_one_channel_take_turns(client: Client, channel: BlockingChannel) -> None:
    other = client.channel()
    inboxes = [Inbox(other, "q", auto_ack=True) for _ in range(2)]
    put(channel, "q", *"abcdef")
    assert all_arrived(client, 6, *inboxes) == [3, 3]


@pytest.mark.usefixtures("kind")
def test_a_consumer_that_is_full_is_passed_over(client: Client, channel: BlockingChannel) -> None:
    full, free = Inbox(client.channel(prefetch=1), "q"), Inbox(client.channel(), "q", ack=True)
    put(channel, "q", *"abcdef")
    assert all_arrived(client, 6, full, free) == [1, 5]


@pytest.mark.usefixtures("kind")
def test_the_highest_priority_is_served_first(client: Client, channel: BlockingChannel) -> None:
    low = Inbox(client.channel(), "q", ack=True)
    high = Inbox(client.channel(), "q", ack=True, priority=5)
    put(channel, "q", *"abcd")
    assert all_arrived(client, 4, low, high) == [0, 4]


@pytest.mark.usefixtures("kind")
def test_lower_priorities_get_what_higher_ones_cannot_take(client: Client, channel: BlockingChannel) -> None:
    low = Inbox(client.channel(), "q", ack=True, priority=-1)
    middle = Inbox(client.channel(prefetch=1), "q")
    high = Inbox(client.channel(prefetch=2), "q", priority=7)
    put(channel, "q", *"abcdef")
    assert all_arrived(client, 6, low, middle, high) == [3, 1, 2]


@pytest.mark.usefixtures("kind")
def test_equal_priorities_take_turns(client: Client, channel: BlockingChannel) -> None:
    low = Inbox(client.channel(), "q", ack=True, priority=1)
    high = [Inbox(client.channel(), "q", ack=True, priority=2) for _ in range(2)]
    put(channel, "q", *"abcdef")
    assert all_arrived(client, 6, low, *high) == [0, 3, 3]


def test_a_priority_has_to_be_an_integer(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    with refused(406, "PRECONDITION_FAILED"):
        channel.basic_consume("q", lambda *_: None, arguments={"x-priority": "high"})


@pytest.mark.usefixtures("kind")
def test_messages_stay_in_order_for_one_consumer(client: Client, channel: BlockingChannel) -> None:
    inbox = Inbox(client.channel(prefetch=3), "q", ack=True)
    bodies = [b"%d" % number for number in range(100)]
    put(channel, "q", *bodies)
    inbox.wait(100)
    assert inbox.bodies == bodies
    assert [got.tag for got in inbox.got] == list(range(1, 101))


# -- exclusive consumers ------------------------------------------------------------------------


def test_an_exclusive_consumer_shares_with_nobody(client: Client, channel: BlockingChannel, vhost: str) -> None:
    channel.queue_declare("q")
    Inbox(client.channel(), "q", exclusive=True)
    with refused(403, f"ACCESS_REFUSED - queue 'q' in vhost '{vhost}' in exclusive use"):
        channel.basic_consume("q", lambda *_: None)


def test_nobody_becomes_exclusive_while_others_consume(client: Client, channel: BlockingChannel, vhost: str) -> None:
    channel.queue_declare("q")
    Inbox(client.channel(), "q")
    with refused(403, f"ACCESS_REFUSED - queue 'q' in vhost '{vhost}' in exclusive use"):
        channel.basic_consume("q", lambda *_: None, exclusive=True)


def test_after_an_exclusive_consumer_others_may_come(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    other = client.channel()
    inbox = Inbox(other, "q", exclusive=True)
    inbox.cancel()
    Inbox(client.channel(), "q")
    put(channel, "q", "x")


def test_reading_one_message_beside_an_exclusive_consumer(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    Inbox(client.channel(prefetch=1), "q", exclusive=True).channel.basic_qos(prefetch_count=1)
    put(channel, "q", *"abc")
    assert take(channel, "q").body in {b"b", b"c"}
