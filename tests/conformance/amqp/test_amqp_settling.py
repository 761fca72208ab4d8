"""Acknowledging, rejecting, returning; what comes back, in which order and how it is marked."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest
from amqp_client import QUORUM, Client, Delivery, Inbox, Server, get, put, refused, size, take, take_all, wait_size
from amqp_wire import METHOD, Wire, header_payload, raw_frame
from pamqp.commands import Basic, Queue
from pika.adapters.blocking_connection import BlockingChannel

KINDS = {"classic": {}, "quorum": QUORUM}
Connect = Callable[..., Client]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, channel: BlockingChannel) -> str:
    channel.queue_declare("q", durable=True, arguments=KINDS[request.param])
    return request.param


def held(channel: BlockingChannel, count: int) -> list[Delivery]:
    """So many messages, read and not settled."""
    return [take(channel, "q", ack=False) for _ in range(count)]


def left(channel: BlockingChannel, count: int) -> list[tuple[bytes, bool]]:
    """Take what has come back: bodies, and whether they are marked."""
    wait_size(channel, "q", count)
    found = [take(channel, "q") for _ in range(count)]
    assert get(channel, "q") is None
    return [(one.body, one.redelivered) for one in found]


@pytest.mark.usefixtures("kind")
def test_acknowledged_messages_are_gone(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abc")
    other = client.channel()
    got = held(other, 3)
    other.basic_ack(got[1].tag)
    other.close()
    assert left(channel, 2) == [(b"a", True), (b"c", True)]


@pytest.mark.usefixtures("kind")
def test_acknowledging_several_takes_all_before(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abcd")
    other = client.channel()
    got = held(other, 4)
    other.basic_ack(got[2].tag, multiple=True)
    other.close()
    assert left(channel, 1) == [(b"d", True)]


@pytest.mark.usefixtures("kind")
def test_tag_zero_means_everything_so_far(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abc")
    other = client.channel()
    held(other, 3)
    other.basic_ack(0, multiple=True)
    other.close()
    assert left(channel, 0) == []


@pytest.mark.usefixtures("kind")
def test_tag_zero_alone_is_unknown(channel: BlockingChannel) -> None:
    put(channel, "q", "a")
    held(channel, 1)
    channel.basic_ack(0)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag 0"):
        size(channel, "q")


@pytest.mark.usefixtures("kind")
def test_settling_twice_is_refused_and_the_rest_comes_back(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"ab")
    other = client.channel()
    got = held(other, 2)
    other.basic_ack(got[0].tag)
    other.basic_ack(got[0].tag)
    with refused(406, f"PRECONDITION_FAILED - unknown delivery tag {got[0].tag}"):
        other.queue_declare("q", passive=True)
    assert left(channel, 1) == [(b"b", True)]


@pytest.mark.usefixtures("kind")
def test_settling_several_of_which_none_is_left_is_refused(channel: BlockingChannel) -> None:
    put(channel, "q", "a")
    got = held(channel, 1)
    channel.basic_ack(got[0].tag)
    channel.basic_ack(got[0].tag, multiple=True)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag"):
        size(channel, "q")


@pytest.mark.usefixtures("kind")
def test_rejected_messages_are_gone(channel: BlockingChannel) -> None:
    put(channel, "q", *"ab")
    got = held(channel, 2)
    channel.basic_reject(got[0].tag, requeue=False)
    channel.basic_nack(got[1].tag, requeue=False)
    assert left(channel, 0) == []


def test_a_returned_message_goes_where_it_was_in_a_classic_queue(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", *"abc")
    got = held(channel, 2)
    channel.basic_reject(got[1].tag, requeue=True)
    assert left(channel, 2) == [(b"b", True), (b"c", False)]
    channel.basic_reject(got[0].tag, requeue=True)
    assert left(channel, 1) == [(b"a", True)]


@pytest.mark.usefixtures("kind")
def test_messages_returned_together_keep_their_order(channel: BlockingChannel) -> None:
    put(channel, "q", *"abc")
    got = held(channel, 3)
    channel.basic_nack(got[2].tag, multiple=True, requeue=True)
    assert left(channel, 3) == [(b"a", True), (b"b", True), (b"c", True)]


@pytest.mark.usefixtures("kind")
def test_messages_of_a_closed_channel_keep_their_order(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abcd")
    other = client.channel(prefetch=4)
    Inbox(other, "q").wait(4)
    other.close()
    assert left(channel, 4) == [(b"a", True), (b"b", True), (b"c", True), (b"d", True)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_returning_one_by_one_in_any_order_restores_a_classic_queue(
    channel: BlockingChannel, order: tuple[int, ...]
) -> None:
    channel.queue_declare("q")
    put(channel, "q", *"abcd")
    got = held(channel, 3)
    for index in order:
        channel.basic_nack(got[index].tag, requeue=True)
    assert [body for body, _ in left(channel, 4)] == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_quorum_queue_hands_returned_messages_out_in_the_order_of_their_return(
    channel: BlockingChannel, server: Server, order: tuple[int, ...]
) -> None:
    channel.queue_declare("q", durable=True, arguments=QUORUM)
    put(channel, "q", *"abcd")
    got = held(channel, 3)
    for index in order:
        channel.basic_nack(got[index].tag, requeue=True)
    returned = [b"abc"[index : index + 1] for index in order]
    # Without a delivery limit, which is the default of 3.10, they go to the end.
    expected = [*returned, b"d"] if server.version >= (4, 0) else [b"d", *returned]
    assert [body for body, _ in left(channel, 4)] == expected


def test_a_quorum_queue_with_a_limit_puts_what_returns_to_the_front(channel: BlockingChannel) -> None:
    channel.queue_declare("q", durable=True, arguments={**QUORUM, "x-delivery-limit": 5})
    put(channel, "q", *"abc")
    channel.basic_reject(held(channel, 1)[0].tag, requeue=True)
    assert [body for body, _ in left(channel, 3)] == [b"a", b"b", b"c"]


def test_a_quorum_queue_without_a_limit_and_what_returns(channel: BlockingChannel, server: Server) -> None:
    channel.queue_declare("q", durable=True, arguments={**QUORUM, "x-delivery-limit": -1})
    put(channel, "q", *"abc")
    channel.basic_reject(held(channel, 1)[0].tag, requeue=True)
    if server.version >= (4, 3):
        assert [body for body, _ in left(channel, 3)] == [b"a", b"b", b"c"]
    elif server.version >= (4, 0):
        assert [body for body, _ in left(channel, 3)] == [b"b", b"c", b"a"]
    else:  # takes the number for a limit that is exceeded
        assert [body for body, _ in left(channel, 2)] == [b"b", b"c"]


@pytest.mark.usefixtures("kind")
def test_the_mark_of_a_redelivery_stays(channel: BlockingChannel) -> None:
    put(channel, "q", "a")
    for _ in range(3):
        channel.basic_nack(held(channel, 1)[0].tag)
    assert left(channel, 1) == [(b"a", True)]


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_deliveries_of_a_lost_connection_come_back(wire: Wire, channel: BlockingChannel, how: str) -> None:
    put(channel, "q", *"ab")
    wire.call(Basic.Consume(queue="q"), Basic.ConsumeOk)
    for _ in range(2):
        wire.content(Basic.Deliver)
    if how == "reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()
    assert left(channel, 2) == [(b"a", True), (b"b", True)]


@pytest.mark.usefixtures("kind")
def test_a_returned_message_goes_to_another_consumer_too(client: Client, channel: BlockingChannel) -> None:
    first, second = client.channel(prefetch=1), client.channel(prefetch=1)
    one = Inbox(first, "q")
    put(channel, "q", "a")
    one.wait(1)
    two = Inbox(second, "q")
    one.cancel()
    first.basic_reject(one.got[0].tag, requeue=True)
    assert two.wait(1)[0].redelivered


@pytest.mark.usefixtures("kind")
def test_recovering_returns_everything_unsettled_of_the_channel(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"abc")
    other = client.channel()
    got = held(other, 3)
    other.basic_ack(got[0].tag)
    other.basic_recover(requeue=True)
    assert left(channel, 2) == [(b"b", True), (b"c", True)]


def test_the_answer_to_recovering_comes_before_the_redeliveries(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.call(Basic.Consume(queue="q"), Basic.ConsumeOk)
    wire.content(Basic.Deliver)
    wire.call(Basic.Recover(True), Basic.RecoverOk)
    assert wire.content(Basic.Deliver).method.redelivered


def test_recovering_without_requeue_is_not_implemented(wire: Wire) -> None:
    wire.send(Basic.Recover(False))
    close = wire.closed()
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - requeue=false")


def test_recovering_without_an_answer(wire: Wire) -> None:
    wire.send_bytes(raw_frame(METHOD, 1, b"\x00\x3c\x00\x64\x01"))
    wire.call(Basic.Qos(prefetch_count=1), Basic.QosOk)


@pytest.mark.usefixtures("kind")
def test_a_consumer_gets_what_it_recovers_again(client: Client, channel: BlockingChannel) -> None:
    put(channel, "q", *"ab")
    other = client.channel()
    inbox = Inbox(other, "q")
    inbox.wait(2)
    other.basic_recover(requeue=True)
    inbox.wait(4)
    assert [(got.body, got.redelivered) for got in inbox.got[2:]] == [(b"a", True), (b"b", True)]
    assert [got.tag for got in inbox.got] == [1, 2, 3, 4]
    assert take_all(channel, "q") == []
