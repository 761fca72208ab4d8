"""Queues that serve one consumer at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from amqp_client import QUORUM, Client, Inbox, Server, put, refused
from pika.adapters.blocking_connection import BlockingChannel

KINDS = {"classic": {}, "quorum": QUORUM}
Connect = Callable[..., Client]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, channel: BlockingChannel) -> str:
    channel.queue_declare("q", durable=True, arguments={**KINDS[request.param], "x-single-active-consumer": True})
    return request.param


@pytest.mark.usefixtures("kind")
def test_the_first_consumer_gets_everything(client: Client, channel: BlockingChannel) -> None:
    first, second = Inbox(client.channel(), "q", ack=True), Inbox(client.channel(), "q", ack=True)
    put(channel, "q", *"abc")
    first.wait(3)
    assert second.settled() == []


@pytest.mark.usefixtures("kind")
def test_the_active_consumer_keeps_the_queue_while_its_prefetch_is_full(
    client: Client, channel: BlockingChannel
) -> None:
    first = Inbox(client.channel(prefetch=1), "q")
    second = Inbox(client.channel(), "q", ack=True)
    put(channel, "q", *"ab")
    first.wait(1)
    assert second.settled() == []


@pytest.mark.usefixtures("kind")
def test_the_next_consumer_takes_over_when_the_first_leaves(client: Client, channel: BlockingChannel) -> None:
    one, two, three = (client.channel() for _ in range(3))
    first = Inbox(one, "q", ack=True)
    second, third = Inbox(two, "q", ack=True), Inbox(three, "q", ack=True)
    first.cancel()
    put(channel, "q", "a")
    second.wait(1)
    two.close()
    put(channel, "q", "b")
    third.wait(1)
    assert (first.bodies, second.bodies, third.bodies) == ([], [b"a"], [b"b"])


@pytest.mark.usefixtures("kind")
def test_what_a_lost_consumer_held_goes_to_the_next(connect: Connect, channel: BlockingChannel) -> None:
    one, two = connect(), connect()
    put(channel, "q", *"ab")
    Inbox(one.channel(), "q").wait(2)
    second = Inbox(two.channel(), "q", ack=True)
    one.close()
    second.wait(2)
    assert second.bodies == [b"a", b"b"]
    assert all(got.redelivered for got in second.got)


def test_a_higher_priority_and_the_active_consumer(
    client: Client, channel: BlockingChannel, kind: str, server: Server
) -> None:
    low = Inbox(client.channel(), "q", ack=True, priority=1)
    high = Inbox(client.channel(), "q", ack=True, priority=10)
    put(channel, "q", "a")
    takes_over = kind == "quorum" and server.version >= (4, 0)
    (high if takes_over else low).wait(1)
    assert (low if takes_over else high).settled() == []


def test_an_exclusive_consumer_has_no_place_there(channel: BlockingChannel, kind: str, vhost: str) -> None:
    if kind == "quorum":  # where exclusive consumers are not heeded
        channel.basic_consume("q", lambda *_: None, exclusive=True)
    else:
        text = f"ACCESS_REFUSED - queue 'q' in vhost '{vhost}' in exclusive use"
        with refused(403, text):
            channel.basic_consume("q", lambda *_: None, exclusive=True)
