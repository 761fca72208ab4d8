"""How many deliveries a consumer may hold."""

from __future__ import annotations

import pytest
from amqp_client import QUORUM, Client, Inbox, Server, put, size, take, wait_size
from pika.adapters.blocking_connection import BlockingChannel

KINDS = {"classic": {}, "quorum": QUORUM}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, channel: BlockingChannel) -> str:
    channel.queue_declare("q", durable=True, arguments=KINDS[request.param])
    return request.param


@pytest.mark.usefixtures("kind")
def test_a_consumer_gets_no_more_than_its_prefetch(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abcde")
    other = client.channel(prefetch=2)
    inbox = Inbox(other, "q")
    inbox.wait(2)
    assert inbox.settled() == [b"a", b"b"]
    other.basic_ack(inbox.got[0].tag)
    inbox.wait(3)
    assert inbox.settled() == [b"a", b"b", b"c"]


@pytest.mark.usefixtures("kind")
def test_a_return_makes_room_like_an_acknowledgement(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", "a")
    other = client.channel(prefetch=1)
    inbox = Inbox(other, "q")
    other.basic_nack(inbox.wait(1)[0].tag, requeue=True)
    inbox.wait(2)


@pytest.mark.usefixtures("kind")
def test_zero_is_no_limit(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abcde")
    other = client.channel(prefetch=1)
    other.basic_qos(prefetch_count=0)
    Inbox(other, "q").wait(5)


@pytest.mark.usefixtures("kind")
def test_a_prefetch_is_for_consumers_that_come_after_it(client: Client, channel: BlockingChannel) -> None:
    other = client.channel(prefetch=1)
    first = Inbox(other, "q")
    other.basic_qos(prefetch_count=3)
    second = Inbox(other, "q")
    put(channel, "q", *"abcdefgh")
    second.wait(3)
    first.wait(1)
    assert (len(first.settled()), len(second.settled())) == (1, 3)


@pytest.mark.usefixtures("kind")
def test_each_consumer_of_a_channel_has_its_own(client: Client, channel: BlockingChannel) -> None:
    other = client.channel(prefetch=2)
    inboxes = [Inbox(other, "q") for _ in range(2)]
    put(channel, "q", *"abcdef")
    for inbox in inboxes:
        inbox.wait(2)
    wait_size(channel, "q", 2)


@pytest.mark.usefixtures("kind")
def test_a_prefetch_is_not_for_deliveries_without_acknowledgement(client: Client, channel: BlockingChannel) -> None:
    inbox = Inbox(client.channel(prefetch=1), "q", auto_ack=True)
    put(channel, "q", *"abc")
    inbox.wait(3)


@pytest.mark.usefixtures("kind")
def test_a_prefetch_is_not_for_reading_single_messages(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abc")
    other = client.channel(prefetch=1)
    assert [take(other, "q", ack=False).body for _ in range(3)] == [b"a", b"b", b"c"]


@pytest.mark.usefixtures("kind")
def test_single_messages_that_are_held_take_no_room(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"ab")
    other = client.channel(prefetch=1)
    take(other, "q", ack=False)
    Inbox(other, "q").wait(1)


@pytest.mark.usefixtures("kind")
def test_settling_several_at_once_makes_room_for_as_many(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abcdef")
    other = client.channel(prefetch=3)
    inbox = Inbox(other, "q")
    inbox.wait(3)
    other.basic_ack(inbox.got[-1].tag, multiple=True)
    inbox.wait(6)


def test_a_prefetch_of_the_channel_is_shared_by_its_consumers(
    client: Client, channel: BlockingChannel, server: Server
) -> None:
    channel.queue_declare("q")
    other = client.channel()
    other.basic_qos(prefetch_count=3, global_qos=True)
    inboxes = [Inbox(other, "q") for _ in range(2)]
    put(channel, "q", *"abcdefgh")
    wait_size(channel, "q", 8 - (6 if server.version >= (4, 3) else 3))
    other.basic_ack(0, multiple=True)
    assert sum(len(one.settled()) for one in inboxes) >= 3
    assert size(channel, "q") <= 5
