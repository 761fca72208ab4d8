"""Methods that want no answer get none, and do what they say."""

from __future__ import annotations

import pytest
from amqp_wire import Wire, header_payload
from pamqp import base
from pamqp.commands import Basic, Channel, Confirm, Exchange, Queue


def asked(wire: Wire, queue: str = "q") -> Queue.DeclareOk:
    return wire.call(Queue.Declare(queue=queue, passive=True), Queue.DeclareOk)


def test_declaring_and_binding(wire: Wire) -> None:
    wire.send(
        Queue.Declare(queue="q", nowait=True),
        Exchange.Declare(exchange="x", exchange_type="fanout", nowait=True),
        Exchange.Declare(exchange="y", exchange_type="direct", nowait=True),
        Queue.Bind(queue="q", exchange="x", nowait=True),
        Exchange.Bind(destination="x", source="y", routing_key="k", nowait=True),
        Confirm.Select(nowait=True),
    )
    wire.publish(Basic.Publish(exchange="y", routing_key="k"), header_payload(0))
    wire.expect(Basic.Ack)
    assert asked(wire).message_count == 1


def test_taking_back(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.call(Exchange.Declare(exchange="x", exchange_type="fanout"), Exchange.DeclareOk)
    wire.call(Queue.Bind(queue="q", exchange="amq.fanout"), Queue.BindOk)
    wire.call(Exchange.Bind(destination="amq.fanout", source="x"), Exchange.BindOk)
    wire.call(Confirm.Select(), Confirm.SelectOk)
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.expect(Basic.Ack)
    wire.send(
        Queue.Purge(queue="q", nowait=True),
        Exchange.Unbind(destination="amq.fanout", source="x", nowait=True),
        Exchange.Delete(exchange="x", nowait=True),
        Queue.Delete(queue="q", nowait=True),
    )
    wire.send(Queue.Declare(queue="q", passive=True))
    assert wire.closed_channel().reply_code == 404


@pytest.mark.parametrize(
    "method",
    [
        Queue.Declare(queue="missing", passive=True, nowait=True),
        Exchange.Declare(exchange="missing", passive=True, nowait=True),
        Queue.Purge(queue="missing", nowait=True),
        Queue.Bind(queue="missing", exchange="amq.direct", nowait=True),
        Basic.Consume(queue="missing", consumer_tag="me", nowait=True),
    ],
)
def test_a_refusal_is_told_all_the_same(wire: Wire, method: base.Frame) -> None:
    wire.send(method)
    close = wire.closed_channel()
    assert close.reply_code == 404
    assert (close.class_id, close.method_id) == (method.index >> 16, method.index & 0xFFFF)


def test_answers_come_in_the_order_of_the_methods(wire: Wire) -> None:
    wire.send(
        Queue.Declare(queue="a"),
        Queue.Declare(queue="b", nowait=True),
        Queue.Bind(queue="a", exchange="amq.direct", routing_key="k"),
        Basic.Qos(prefetch_count=5),
        Basic.Get(queue="a"),
        Queue.Delete(queue="a"),
        Channel.Close(200, "", 0, 0),
    )
    got = [type(wire.receive().method) for _ in range(6)]
    assert got == [Queue.DeclareOk, Queue.BindOk, Basic.QosOk, Basic.GetEmpty, Queue.DeleteOk, Channel.CloseOk]
