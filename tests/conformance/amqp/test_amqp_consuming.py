"""Subscribing, reading single messages, and how subscriptions end."""

from __future__ import annotations

import pytest
from amqp_client import QUORUM, Client, Inbox, Server, consumers, disconnected, get, put, refused, take
from amqp_wire import Wire, header_payload
from pamqp.commands import Basic, Channel, Queue
from pika.adapters.blocking_connection import BlockingChannel

KINDS = {"classic": {}, "quorum": QUORUM}


def test_a_subscription_gets_what_is_there_and_what_comes(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a", "b")
    inbox = Inbox(client.channel(), "q")
    inbox.wait(2)
    put(channel, "q", "c")
    inbox.wait(3)
    assert inbox.bodies == [b"a", b"b", b"c"]
    assert {(got.method.exchange, got.method.routing_key, got.redelivered) for got in inbox.got} == {("", "q", False)}


def test_the_answer_comes_before_the_first_delivery(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    for _ in range(3):
        wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    assert wire.call(Basic.Consume(queue="q", consumer_tag="me"), Basic.ConsumeOk).consumer_tag == "me"
    for number in (1, 2, 3):
        method = wire.content(Basic.Deliver).method
        assert (method.consumer_tag, method.delivery_tag) == ("me", number)


def test_a_subscription_without_a_name_gets_one(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    tags = {wire.call(Basic.Consume(queue="q"), Basic.ConsumeOk).consumer_tag for _ in range(3)}
    assert len(tags) == 3
    assert all(tag.startswith("amq.ctag-") for tag in tags)


def test_a_name_in_use_closes_the_connection(client: Client, channel: BlockingChannel, wire: Wire) -> None:
    channel.queue_declare("q")
    wire.call(Basic.Consume(queue="q", consumer_tag="me"), Basic.ConsumeOk)
    wire.send(Basic.Consume(queue="q", consumer_tag="me"))
    close = wire.closed()
    assert (close.reply_code, close.reply_text) == (530, "NOT_ALLOWED - attempt to reuse consumer tag 'me'")


def test_names_are_free_again_and_belong_to_channels(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.open_channel(2)
    wire.call(Basic.Consume(queue="q", consumer_tag="me"), Basic.ConsumeOk)
    wire.call(Basic.Consume(queue="q", consumer_tag="me"), Basic.ConsumeOk, 2)
    wire.call(Basic.Cancel("me"), Basic.CancelOk)
    wire.call(Basic.Consume(queue="q", consumer_tag="me"), Basic.ConsumeOk)


def test_a_subscription_may_be_made_without_an_answer(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.send(Basic.Consume(queue="q", consumer_tag="me", nowait=True))
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    assert wire.content(Basic.Deliver).method.consumer_tag == "me"
    wire.send(Basic.Cancel("me", nowait=True))
    assert wire.call(Queue.Declare(queue="q"), Queue.DeclareOk).consumer_count == 0


def test_a_missing_queue_cannot_be_consumed(channel: BlockingChannel, vhost: str) -> None:
    with refused(404, f"NOT_FOUND - no queue 'missing' in vhost '{vhost}'"):
        channel.basic_consume("missing", lambda *_: None)


def test_cancelling_stops_deliveries_and_keeps_what_was_delivered(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "held")
    other = client.channel()
    inbox = Inbox(other, "q")
    held = inbox.wait(1)[0]
    inbox.cancel()
    put(channel, "q", "new")
    assert consumers(channel, "q") == 0
    assert take(channel, "q").body == b"new"
    assert get(channel, "q") is None
    other.basic_ack(held.tag)
    other.close()
    assert get(channel, "q") is None


def test_cancelling_an_unknown_subscription_is_fine(wire: Wire) -> None:
    assert wire.call(Basic.Cancel("nobody"), Basic.CancelOk).consumer_tag == "nobody"


def test_deliveries_without_acknowledgement_are_forgotten(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a", "b")
    other = client.channel()
    Inbox(other, "q", auto_ack=True).wait(2)
    other.close()
    assert get(channel, "q") is None


def test_settling_what_needs_no_acknowledgement_is_refused(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a")
    other = client.channel()
    tag = Inbox(other, "q", auto_ack=True).wait(1)[0].tag
    other.basic_ack(tag)
    with refused(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"):
        other.queue_declare("q")


def test_reading_one_message_tells_how_many_are_left(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a", "b", "c")
    left = [take(channel, "q").method.message_count for _ in range(3)]
    assert left == [2, 1, 0]


def test_reading_an_empty_queue_says_so(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.call(Basic.Get(queue="q"), Basic.GetEmpty)


def test_reading_and_subscribing_count_delivery_tags_together(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a")
    other = client.channel()
    first = take(other, "q", ack=False)
    inbox = Inbox(other, "q")
    put(channel, "q", "b")
    assert (first.tag, inbox.wait(1)[0].tag) == (1, 2)


def test_no_local_is_not_heeded(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.call(Basic.Consume(queue="q", no_local=True), Basic.ConsumeOk)
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.content(Basic.Deliver)


# -- the broker ends a subscription -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_queue_cancels_its_subscriptions(wire: Wire, kind: str) -> None:
    wire.call(Queue.Declare(queue="q", durable=True, arguments=KINDS[kind]), Queue.DeclareOk)
    wire.call(Basic.Consume(queue="q", consumer_tag="one"), Basic.ConsumeOk)
    wire.open_channel(2)
    wire.send(Queue.Delete(queue="q"), channel=2)
    frames = {frame.channel: frame.method for frame in (wire.receive(), wire.receive())}  # in any order
    assert isinstance(frames[2], Queue.DeleteOk)
    assert (frames[1].name, frames[1].consumer_tag, frames[1].nowait) == ("Basic.Cancel", "one", True)
    wire.call(Channel.Close(200, "", 0, 0), Channel.CloseOk)


def test_a_client_that_does_not_know_of_it_is_not_told(bare_wire: Wire) -> None:
    bare_wire.login(capable=False)
    bare_wire.open_channel()
    bare_wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    bare_wire.call(Basic.Consume(queue="q"), Basic.ConsumeOk)
    bare_wire.call(Queue.Delete(queue="q"), Queue.DeleteOk)
    bare_wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    assert bare_wire.sent_nothing()


def test_acknowledging_on_behalf_of_nobody(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    channel.basic_ack(0, multiple=True)  # everything, which is nothing
    channel.queue_declare("q")


def test_global_prefetch_on_a_quorum_queue(client: Client, server: Server) -> None:
    channel = client.channel()
    channel.queue_declare("q", durable=True, arguments=QUORUM)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    if server.version >= (4, 3):
        Inbox(channel, "q")
    else:
        with disconnected(540, "NOT_IMPLEMENTED"):
            Inbox(channel, "q")
