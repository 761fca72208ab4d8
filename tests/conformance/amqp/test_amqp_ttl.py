"""Messages and queues that expire."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from amqp_client import QUORUM, Client, Inbox, exists, get, put, refused, size, take, take_all, wait_size
from amqp_wire import Wire, header_payload
from pamqp.commands import Basic, Queue
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, NackError, UnroutableError
from waiting import wait_for

KINDS = {"classic": {}, "quorum": QUORUM}


def declare(channel: BlockingChannel, kind: str, **arguments: Any) -> None:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare("q", durable=True, arguments={**KINDS[kind], **given})


@pytest.mark.parametrize("kind", KINDS)
def test_messages_leave_a_queue_with_a_ttl(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_message_ttl=300)
    begin = time.monotonic()
    put(channel, "q", "a", "b")
    wait_size(channel, "q", 0)
    assert time.monotonic() - begin >= 0.29


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_may_bring_its_own_ttl(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind)
    put(channel, "q", "short", expiration="150")
    put(channel, "q", "long", expiration="60000")
    put(channel, "q", "forever")
    wait_size(channel, "q", 2)
    assert take_all(channel, "q") == [b"long", b"forever"]


def test_a_message_expires_without_being_asked_for(channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    declare(channel, "classic", x_message_ttl=300, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    begin = time.monotonic()
    put(channel, "q", "x")
    inbox = Inbox(channel, "dead")
    inbox.wait(1)
    assert time.monotonic() - begin >= 0.29


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
def test_messages_that_are_out_for_delivery_do_not_expire(client: Client, channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_message_ttl=300)
    other = client.channel(prefetch=1)
    inbox = Inbox(other, "q")  # it waits for the first, which has no time to expire
    begin = time.monotonic()
    put(channel, "q", "held", "goes")
    (held,) = inbox.wait(1)
    wait_for(lambda: time.monotonic() - begin > 0.4)  # both have had their time
    assert inbox.settled() == [b"held"]
    inbox.cancel()
    other.basic_nack(held.tag, requeue=True)
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
def test_a_queue_with_a_consumer_does_not_expire(client: Client, wire: Wire, kind: str) -> None:
    declaring = Queue.Declare(queue="q", durable=True, arguments={**KINDS[kind], "x-expires": 400})
    wire.send(declaring, Basic.Consume(queue="q", consumer_tag="me", no_ack=True))  # at once, so that it can't be late
    wire.expect(Queue.DeclareOk)
    wire.expect(Basic.ConsumeOk)
    time.sleep(0.7)  # nothing may happen
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.content(Basic.Deliver)
    wire.call(Basic.Cancel(consumer_tag="me"), Basic.CancelOk)
    wait_for(lambda: not exists(client, "q"), interval=0.6)


LIFE = 0.6
"""Seconds in which a queue expires that nobody uses."""


def redeclare(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_expires=round(LIFE * 1000))


def kept(client: Client, use: Callable[[BlockingChannel], object]) -> bool | None:
    """Whether a queue that is used so lives on; None when we were so late once that it may have expired."""
    channel, late = client.channel(confirm=True), False
    redeclare(channel)
    put(channel, "q", "x")
    begin = used = time.monotonic()
    try:
        while time.monotonic() - begin < 1.5 * LIFE:
            time.sleep(LIFE / 4)
            asked = time.monotonic()
            use(channel)
            late = late or time.monotonic() - used > 0.9 * LIFE
            used = asked
        found = take_all(channel, "q")  # it would be another queue without the message
    except ChannelClosedByBroker:
        late = late or time.monotonic() - used > 0.9 * LIFE
        return None if late else False
    channel.queue_delete("q")
    return found == [b"x"] or (None if late else False)


def read(channel: BlockingChannel) -> None:
    one = get(channel, "q", ack=False)
    if one is not None:
        channel.basic_nack(one.tag, requeue=True)


@pytest.mark.parametrize(
    "use", [redeclare, lambda channel: size(channel, "q"), read], ids=["declare", "passive", "read"]
)
def test_declaring_and_reading_keep_a_queue(client: Client, use: Callable[[BlockingChannel], object]) -> None:
    while (result := kept(client, use)) is None:
        pass  # the machine was too busy for an answer
    assert result


def test_publishing_does_not_keep_a_queue(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_expires=300)

    def gone() -> bool:
        try:
            channel.basic_publish("", "q", b"x", mandatory=True)
        except UnroutableError:
            return True
        except NackError:  # RabbitMQ refuses what it had routed to the queue just before it went
            return False
        return False

    wait_for(gone, interval=0.05)
