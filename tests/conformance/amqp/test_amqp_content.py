"""Bodies of every size and properties of every kind arrive as they were sent."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from amqp_client import QUORUM, Client, Inbox, Server, put, refused
from amqp_wire import BODY, HEADER, Field, Wire, header_payload, method_frame, raw_frame, raw_headers, typed_headers
from pamqp.commands import Basic, Confirm, Queue
from pika.adapters.blocking_connection import BlockingChannel

FRAME_MAX = 131_072
KINDS = {"classic": {}, "quorum": QUORUM}


@pytest.fixture(params=KINDS)
def queue(request: pytest.FixtureRequest, wire: Wire) -> str:
    wire.call(Queue.Declare(queue="q", durable=True, arguments=KINDS[request.param]), Queue.DeclareOk)
    wire.call(Confirm.Select(), Confirm.SelectOk)
    return "q"


def echoed(wire: Wire, header: bytes, body: bytes = b"") -> Any:
    """What comes out of the queue when this goes in."""
    wire.publish(Basic.Publish(routing_key="q"), header, body)
    wire.expect(Basic.Ack)
    wire.send(Basic.Get(queue="q", no_ack=True))
    return wire.content(Basic.GetOk)


@pytest.mark.usefixtures("queue")
def test_an_empty_body_has_no_body_frame(wire: Wire) -> None:
    got = echoed(wire, header_payload(0))
    assert got.body == b""
    wire.call(Queue.Declare(queue="q", passive=True), Queue.DeclareOk)


@pytest.mark.usefixtures("queue")
def test_an_empty_body_may_come_with_an_empty_frame(wire: Wire) -> None:
    wire.send_bytes(
        method_frame(Basic.Publish(routing_key="q")) + raw_frame(HEADER, 1, header_payload(1)) + raw_frame(BODY, 1, b"")
    )
    wire.send_bytes(raw_frame(BODY, 1, b"x"))
    wire.expect(Basic.Ack)
    wire.send(Basic.Get(queue="q", no_ack=True))
    assert wire.content(Basic.GetOk).body == b"x"


@pytest.mark.parametrize("size", [1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, FRAME_MAX, 1_000_003])
def test_bodies_of_any_size_arrive(channel: BlockingChannel, client: Client, size: int) -> None:
    channel.queue_declare("q")
    body = bytes(range(256)) * (size // 256 + 1)
    put(channel, "q", body[:size])
    inbox = Inbox(client.channel(), "q")
    assert inbox.wait(1)[0].body == body[:size]


def test_frames_are_as_large_as_agreed(bare_wire: Wire) -> None:
    bare_wire.login(frame_max=8192)
    bare_wire.open_channel()
    bare_wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    body = bytes(20_000)
    bare_wire.send_bytes(method_frame(Basic.Publish(routing_key="q")) + raw_frame(HEADER, 1, header_payload(20_000)))
    for start in range(0, 20_000, 8184):
        bare_wire.send_bytes(raw_frame(BODY, 1, body[start : start + 8184]))
    bare_wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    bare_wire.send(Basic.Get(queue="q", no_ack=True))
    bare_wire.expect(Basic.GetOk)
    sizes = [len(bare_wire.receive().payload) for _ in range(4)]
    assert sizes[1:] == [8184, 8184, 20_000 - 2 * 8184]


def test_frames_larger_than_agreed_close_the_connection(bare_wire: Wire) -> None:
    bare_wire.login(frame_max=8192)
    bare_wire.open_channel()
    bare_wire.publish(Basic.Publish(routing_key="q"), header_payload(9000), bytes(9000))
    assert bare_wire.closed().reply_code == 501


def test_messages_of_16_mebibytes_and_more_are_refused(connect: Callable[..., Client], server: Server) -> None:
    channel = connect().channel(confirm=True)
    channel.queue_declare("q")
    if server.version >= (4, 0):
        with refused(406, "PRECONDITION_FAILED - message size", "larger than configured max size 16777216"):
            put(channel, "q", bytes((1 << 24) + 1))
    else:
        put(channel, "q", bytes((1 << 24) + 1))


@pytest.mark.usefixtures("queue")
def test_every_property_arrives(wire: Wire, server: Server) -> None:
    sent = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"a": 1},
        "delivery_mode": 2,
        "priority": 5,
        "correlation_id": "corr",
        "reply_to": "somewhere",
        "expiration": "60000",
        "message_id": "id-1",
        "message_type": "kind",
        "user_id": "guest",
        "app_id": "conformance",
    }
    header = header_payload(0, Basic.Properties(**sent))
    got = dict(echoed(wire, header).properties)
    if server.version < (4, 0):
        got["headers"].pop("x-delivery-count", None)  # quorum queues
    assert {name: got[name] for name in sent} == sent


@pytest.mark.usefixtures("queue")
def test_no_property_is_invented(wire: Wire, server: Server) -> None:
    got = echoed(wire, header_payload(0))
    if server.version < (4, 0) and typed_headers(got.header):
        assert typed_headers(got.header) == {"x-delivery-count": Field("l", 0)}
    else:
        assert got.header == header_payload(0)


@pytest.mark.usefixtures("queue")
def test_a_timestamp_arrives_to_the_second(wire: Wire) -> None:
    header = struct.pack(">HHQHQ", 60, 0, 0, 1 << 6, 1_700_000_000)
    got = echoed(wire, header).header
    assert got.endswith(struct.pack(">Q", 1_700_000_000))


@pytest.mark.usefixtures("queue")
def test_properties_with_odd_characters_arrive(wire: Wire) -> None:
    header = header_payload(0, Basic.Properties(message_id="ключ " * 20, correlation_id="\n\t'"))
    got = echoed(wire, header).properties
    assert (got.message_id, got.correlation_id) == ("ключ " * 20, "\n\t'")


LONG = struct.pack(">I", 3) + b"a\xffb"
NESTED = b"\x01kI" + struct.pack(">i", 7)
FIELDS = {
    "bool": b"t\x01",
    "int8": b"b\x80",
    "uint8": b"B\xff",
    "int16": b"s\x80\x00",
    "uint16": b"u\xff\xff",
    "int32": b"I\x80\x00\x00\x00",
    "uint32": b"i\xff\xff\xff\xff",
    "int64": b"l\x80\x00\x00\x00\x00\x00\x00\x00",
    "float": b"f" + struct.pack(">f", 0.1),
    "double": b"d" + struct.pack(">d", 0.1),
    "decimal": b"D\x02" + struct.pack(">I", 314),
    "timestamp": b"T" + struct.pack(">Q", 1_700_000_000),
    "string": b"S" + struct.pack(">I", 4) + b"text",
    "string of bytes": b"S" + LONG,
    "bytes": b"x" + LONG,
    "void": b"V",
    "empty table": b"F" + struct.pack(">I", 0),
    "table": b"F" + struct.pack(">I", len(NESTED)) + NESTED,
    "empty array": b"A" + struct.pack(">I", 0),
    "array": b"A" + struct.pack(">I", 7) + b"t\x00I\x00\x00\x00\x01",
}


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("name", FIELDS)
def test_a_header_of_every_type_arrives_with_its_type(wire: Wire, name: str) -> None:
    table = b"\x01h" + FIELDS[name]
    got = typed_headers(echoed(wire, raw_headers(table)).header)
    sent = typed_headers(raw_headers(table))
    assert got["h"] == sent["h"]


def test_headers_that_cannot_be_read_close_the_connection(wire: Wire) -> None:
    wire.publish(Basic.Publish(routing_key="q"), raw_headers(b"\x01hA" + struct.pack(">I", 100) + b"t\x01"))
    assert wire.closed().reply_code in {501, 502, 541}  # RabbitMQ: 541
