"""Publishing: confirms, returns, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
import pytest
from amqp_client import QUORUM, Client, put, refused, size, take
from amqp_wire import Content, Wire, header_payload
from pamqp.commands import Basic, Channel, Confirm, Queue
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError


@pytest.fixture
def confirming(wire: Wire) -> Wire:
    """A channel that confirms, and the queue ``q``."""
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.call(Confirm.Select(), Confirm.SelectOk)
    return wire


def publish(wire: Wire, key: str = "q", **options: Any) -> None:
    wire.publish(Basic.Publish(routing_key=key, **options), header_payload(1), b"x")


def confirmed(wire: Wire, last: int) -> list[int]:
    """Read confirms until this number; the numbers that they stand for."""
    numbers: list[int] = []
    while not numbers or numbers[-1] < last:
        ack = wire.expect(Basic.Ack)
        numbers += (
            range(numbers[-1] + 1 if numbers else 1, ack.delivery_tag + 1) if ack.multiple else [ack.delivery_tag]
        )
    return numbers


def test_every_publish_is_confirmed_by_its_number(confirming: Wire) -> None:
    for number in (1, 2, 3):
        publish(confirming)
        ack = confirming.expect(Basic.Ack)
        assert ack.delivery_tag == number


@pytest.mark.parametrize("arguments", [{}, QUORUM])
def test_many_publishes_may_be_confirmed_together(wire: Wire, arguments: dict[str, str]) -> None:
    wire.call(Queue.Declare(queue="many", durable=True, arguments=arguments), Queue.DeclareOk)
    wire.call(Confirm.Select(), Confirm.SelectOk)
    for _ in range(300):
        publish(wire, "many")
    assert sorted(confirmed(wire, 300)) == list(range(1, 301))


def test_numbers_count_from_the_selection_on(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    publish(wire)
    wire.call(Confirm.Select(), Confirm.SelectOk)
    publish(wire)
    assert wire.expect(Basic.Ack).delivery_tag == 1


def test_selecting_twice_changes_nothing(confirming: Wire) -> None:
    publish(confirming)
    assert confirming.expect(Basic.Ack).delivery_tag == 1
    confirming.call(Confirm.Select(), Confirm.SelectOk)
    publish(confirming)
    assert confirming.expect(Basic.Ack).delivery_tag == 2


def test_each_channel_counts_for_itself(confirming: Wire) -> None:
    confirming.open_channel(2)
    confirming.call(Confirm.Select(), Confirm.SelectOk, 2)
    publish(confirming)
    confirming.expect(Basic.Ack)
    confirming.publish(Basic.Publish(routing_key="q"), header_payload(0), channel=2)
    assert confirming.expect(Basic.Ack, 2).delivery_tag == 1


def test_without_selection_nothing_is_confirmed(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    publish(wire)
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    assert wire.sent_nothing()


def test_what_reaches_no_queue_is_confirmed(confirming: Wire) -> None:
    publish(confirming, "nowhere")
    assert confirming.expect(Basic.Ack).delivery_tag == 1


def test_what_reaches_no_queue_is_returned_before_it_is_confirmed(confirming: Wire) -> None:
    properties = header_payload(4, Basic.Properties(message_id="7", headers={"a": 1}))
    confirming.publish(Basic.Publish(exchange="amq.direct", routing_key="nowhere", mandatory=True), properties, b"body")
    returned = confirming.content(Basic.Return)
    method = returned.method
    assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE")
    assert (method.exchange, method.routing_key) == ("amq.direct", "nowhere")
    assert (returned.body, returned.properties.message_id) == (b"body", "7")
    assert confirming.expect(Basic.Ack).delivery_tag == 1


def test_returns_come_without_confirms_too(wire: Wire) -> None:
    publish(wire, "nowhere", mandatory=True)
    assert isinstance(wire.content(Basic.Return), Content)


def test_what_reaches_a_queue_is_not_returned(confirming: Wire) -> None:
    publish(confirming, mandatory=True)
    confirming.expect(Basic.Ack)


def test_what_only_a_header_routes_is_not_returned(confirming: Wire) -> None:
    properties = header_payload(0, Basic.Properties(headers={"CC": ["q"]}))
    confirming.publish(Basic.Publish(routing_key="nowhere", mandatory=True), properties)
    confirming.expect(Basic.Ack)


def test_demanding_a_consumer_at_once_is_not_implemented(wire: Wire) -> None:
    publish(wire, immediate=True)
    close = wire.closed()
    assert (close.reply_code, close.reply_text) == (540, "NOT_IMPLEMENTED - immediate=true")


def test_publishes_before_a_failing_one_are_confirmed(confirming: Wire) -> None:
    publish(confirming)
    publish(confirming)
    publish(confirming, exchange="missing")
    publish(confirming)
    got = [confirming.receive().method]
    while not isinstance(got[-1], Channel.Close):
        got.append(confirming.receive().method)
    assert got[-1].reply_code == 404
    confirming.send(Channel.CloseOk())
    confirming.open_channel()
    assert confirming.call(Queue.Declare(queue="q", passive=True), Queue.DeclareOk).message_count == 2


def test_pika_tells_of_what_reached_no_queue(channel: BlockingChannel) -> None:
    with pytest.raises(UnroutableError) as caught:
        channel.basic_publish("", "nowhere", b"x", mandatory=True)
    assert [one.body for one in caught.value.messages] == [b"x"]
    channel.queue_declare("q")


def test_messages_of_one_channel_keep_their_order(channel: BlockingChannel, client: Client) -> None:
    channel.queue_declare("q")
    plain = client.channel()
    bodies = [b"%d" % number for number in range(500)]
    put(plain, "q", *bodies)
    assert [take(channel, "q").body for _ in bodies] == bodies


def test_confirmed_messages_are_there_for_everybody(channel: BlockingChannel, connect: Callable[..., Client]) -> None:
    channel.queue_declare("q")
    other = connect().channel()
    for count in range(1, 20):
        put(channel, "q", "x")
        assert size(other, "q") == count


# -- the publisher's name -----------------------------------------------------------------------


def test_a_publisher_may_name_itself(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "x", user_id="guest")
    assert take(channel, "q").properties.user_id == "guest"


def test_a_publisher_may_not_name_somebody_else(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    text = "PRECONDITION_FAILED - user_id property set to 'boss' but authenticated user was 'guest'"
    with refused(406, text):
        put(channel, "q", "x", user_id="boss")


def test_pikas_publish_sees_the_refusal(client: Client) -> None:
    channel = client.channel()
    channel.basic_publish("missing", "k", b"x", pika.BasicProperties())
    with refused(404, "no exchange 'missing'"):
        channel.queue_declare("q")
