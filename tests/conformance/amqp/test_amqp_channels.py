"""A channel's life: opened, closed by either side, used again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from amqp_client import Client, Inbox, Server, disconnected, get, put, refused, size, take
from amqp_wire import Wire
from pamqp import commands
from pamqp.commands import Channel, Queue
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker


def test_an_error_closes_one_channel_only(client: Client) -> None:
    healthy, failing = client.channel(), client.channel()
    with refused(404):
        failing.queue_declare("missing", passive=True)
    assert client.connection.is_open
    healthy.queue_declare("q")


def test_the_number_of_a_closed_channel_can_be_used_again(wire: Wire) -> None:
    for _ in range(3):
        wire.call(Channel.Close(200, "done", 0, 0), Channel.CloseOk)
        wire.open_channel()
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)


def test_the_number_of_a_channel_that_failed_can_be_used_again(wire: Wire) -> None:
    for _ in range(3):
        wire.send(Queue.Declare(queue="missing", passive=True))
        wire.closed_channel()
        wire.open_channel()
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)


def test_channels_have_any_number_up_to_the_agreed_one(wire: Wire) -> None:
    for number in (2047, 2, 1000):
        wire.open_channel(number)


def test_both_sides_may_close_at_the_same_time(wire: Wire) -> None:
    wire.send(Queue.Declare(queue="missing", passive=True), Channel.Close(200, "done", 0, 0))
    got = [wire.receive().method for _ in range(2)]
    assert [type(one) for one in got] == [Channel.Close, Channel.CloseOk]
    wire.send(Channel.CloseOk())
    wire.open_channel()


def test_unsettled_deliveries_return_when_the_channel_closes(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a", "b")
    other = client.channel()
    Inbox(other, "q").wait(2)
    other.close()
    assert take(channel, "q").redelivered
    assert take(channel, "q").body == b"b"


def test_unsettled_deliveries_return_when_the_channel_fails(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a")
    other = client.channel()
    Inbox(other, "q").wait(1)
    with refused(404):
        other.queue_declare("missing", passive=True)
    assert take(channel, "q").redelivered


def test_consumers_are_gone_with_their_channel(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    other = client.channel()
    Inbox(other, "q")
    other.close()
    put(channel, "q", "a")
    assert take(channel, "q").body == b"a"


def test_queues_outlive_the_channel_that_declared_them(client: Client, channel: BlockingChannel) -> None:
    other = client.channel()
    other.queue_declare("q", exclusive=True)
    other.close()
    assert size(channel, "q") == 0


def test_pausing_deliveries_is_not_implemented(wire: Wire) -> None:
    wire.send(Channel.Flow(False))
    close = wire.closed()
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - active=false")


def test_resuming_deliveries_is_allowed(wire: Wire) -> None:
    assert wire.call(Channel.Flow(True), Channel.FlowOk).active is True


@pytest.mark.parametrize("tag", [1, 7])
def test_an_unknown_delivery_tag_closes_the_channel(channel: BlockingChannel, tag: int) -> None:
    channel.basic_ack(tag)
    with refused(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"):
        channel.queue_declare("q")


def test_delivery_tags_belong_to_their_channel(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a")
    first = take(channel, "q", ack=False)
    other = client.channel()
    other.basic_ack(first.tag)
    with pytest.raises(ChannelClosedByBroker):
        other.queue_declare("q")
    channel.basic_ack(first.tag)
    assert get(channel, "q") is None


def test_transactions_are_not_for_the_dev_broker(wire: Wire, server: Server) -> None:
    wire.send(commands.Tx.Select())
    if server.is_dev:
        close = wire.closed()
        assert close.reply_code == 540
        assert close.reply_text.startswith("NOT_IMPLEMENTED")
    else:
        wire.expect(commands.Tx.SelectOk)


def test_global_prefetch_of_the_connection_is_refused(connect: Callable[..., Client]) -> None:
    channel = connect().channel()
    with disconnected(540, "prefetch_size!=0"):
        channel.basic_qos(prefetch_size=100)
