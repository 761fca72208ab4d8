"""Messages and queues that expire."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from amqp_client import QUORUM, Client, Inbox, exists, get, put, refused, size, take, take_all, wait_size
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError
from waiting import wait_for

KINDS = {"classic": {}, "quorum": QUORUM}


def declare(channel: BlockingChannel, kind: str, **arguments: Any) -> None:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare("q", durable=True, arguments={**KINDS[kind], **given})


@pytest.mark.parametrize("kind", KINDS)
def test_messages_leave_a_queue_with_a_ttl(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_message_ttl=600)
    put(channel, "q", "a", "b")
    assert size(channel, "q") == 2
    wait_size(channel, "q", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_may_bring_its_own_ttl(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind)
    put(channel, "q", "short", expiration="150")
    put(channel, "q", "long", expiration="60000")
    put(channel, "q", "forever")
    wait_size(channel, "q", 2)
    assert take_all(channel, "q") == [b"long", b"forever"]


def test_a_message_expires_on_time(channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    declare(channel, "classic", x_message_ttl=300, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    begin = time.monotonic()
    put(channel, "q", "x")
    inbox = Inbox(channel, "dead")
    inbox.wait(1)
    assert 0.29 <= time.monotonic() - begin < 1.5


@pytest.mark.parametrize(("queue_ttl", "own"), [(150, "60000"), (60_000, "150")])
@pytest.mark.parametrize("kind", KINDS)
def test_the_shorter_of_both_ttls_counts(channel: BlockingChannel, kind: str, queue_ttl: int, own: str) -> None:
    declare(channel, kind, x_message_ttl=queue_ttl)
    put(channel, "q", "x", expiration=own)
    wait_size(channel, "q", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_expires_at_the_head_of_the_queue_only(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    channel.queue_declare("dead")
    put(channel, "q", "first", expiration="600")
    put(channel, "q", "second", expiration="1")
    inbox = Inbox(channel, "dead")
    inbox.wait(2)
    assert inbox.bodies == [b"first", b"second"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_expired_message_behind_others_is_not_delivered(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind)
    put(channel, "q", "first")
    put(channel, "q", "second", expiration="50")
    put(channel, "q", "third")
    first = take(channel, "q", ack=False)
    time.sleep(0.1)  # nothing can be seen of it: it is not at the head
    assert take(channel, "q").body == b"third"
    channel.basic_ack(first.tag)


@pytest.mark.parametrize("kind", KINDS)
def test_messages_that_are_out_for_delivery_do_not_expire(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_message_ttl=500)
    put(channel, "q", "held")
    held = take(channel, "q", ack=False)
    put(channel, "q", "goes")
    wait_size(channel, "q", 0)
    channel.basic_nack(held.tag, requeue=True)
    wait_size(channel, "q", 0)
    assert get(channel, "q") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_ttl_of_zero_delivers_to_who_waits_and_drops_otherwise(
    client: Client, channel: BlockingChannel, kind: str
) -> None:
    declare(channel, kind, x_message_ttl=0)
    put(channel, "q", "dropped")
    wait_size(channel, "q", 0)
    inbox = Inbox(client.channel(), "q", auto_ack=True)
    if kind == "classic":
        put(channel, "q", "delivered")
        inbox.wait(1)
        assert inbox.bodies == [b"delivered"]


@pytest.mark.parametrize("value", ["-1", "soon", "1.5", ""])
def test_an_expiration_that_is_no_number_is_refused(channel: BlockingChannel, value: str) -> None:
    declare(channel, "classic")
    with refused(406, "PRECONDITION_FAILED - invalid expiration"):
        put(channel, "q", "x", expiration=value)


@pytest.mark.parametrize("kind", KINDS)
def test_readers_see_the_expiration_that_was_set(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind)
    put(channel, "q", "x", expiration="60000")
    assert take(channel, "q").properties.expiration == "60000"


# -- queues --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_unused_queue_expires(client: Client, channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_expires=200)
    put(channel, "q", "x")
    wait_for(lambda: not exists(client, "q"), interval=0.25)  # asking keeps it, so not too often


def test_messages_of_an_expired_queue_are_not_dead_lettered(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    declare(channel, "classic", x_expires=150, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    put(channel, "q", "x")
    wait_for(lambda: not exists(client, "q"), interval=0.25)
    assert size(channel, "dead") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_with_a_consumer_does_not_expire(client: Client, channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_expires=500)
    inbox = Inbox(channel, "q", auto_ack=True)
    time.sleep(0.9)  # nothing may happen
    put(channel, "q", "x")
    inbox.wait(1)
    inbox.cancel()
    wait_for(lambda: not exists(client, "q"), interval=0.8)


def test_declaring_and_reading_keep_a_queue(client: Client, channel: BlockingChannel) -> None:
    declare(channel, "classic", x_expires=1000)
    for _ in range(4):
        time.sleep(0.35)  # 1.4 s in all
        declare(channel, "classic", x_expires=1000)
    for _ in range(4):
        time.sleep(0.35)
        assert get(channel, "q") is None


def test_a_passive_declaration_keeps_a_queue(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_expires=1000)
    for _ in range(4):
        time.sleep(0.35)
        assert size(channel, "q") == 0


def test_publishing_does_not_keep_a_queue(client: Client, channel: BlockingChannel) -> None:
    declare(channel, "classic", x_expires=300)
    begin = time.monotonic()
    while time.monotonic() - begin < 0.8:
        with suppress(NackError):  # RabbitMQ refuses what it had routed to the queue just before it went
            put(channel, "q", "x")
        time.sleep(0.05)
    assert not exists(client, "q")
