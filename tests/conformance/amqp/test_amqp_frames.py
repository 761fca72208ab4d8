"""What the broker does about frames that are wrong, and content that is not what was announced."""

from __future__ import annotations

import struct

import pytest
from amqp_client import Server
from amqp_wire import BODY, FRAME_END, HEADER, HEARTBEAT, METHOD, Wire, header_payload, method_frame, raw_frame
from pamqp import base
from pamqp.commands import Basic, Channel, Connection, Queue

PUBLISH = Basic.Publish(routing_key="q")


def method_payload(class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    return struct.pack(">HH", class_id, method_id) + arguments


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(raw_frame(METHOD, 1, b"\0\x14\0\x14\x01", end=b"\0"), 501, id="wrong end"),
        pytest.param(raw_frame(HEARTBEAT, 1, b""), 505, id="heartbeat on a channel"),
        pytest.param(raw_frame(HEARTBEAT, 0, b"x"), 501, id="heartbeat with content"),
        pytest.param(raw_frame(77, 1, b"x"), 501, id="unknown type of frame"),
        pytest.param(struct.pack(">BHI", METHOD, 1, 200_000) + bytes(200_000) + FRAME_END, 501, id="too large"),
        pytest.param(raw_frame(BODY, 1, b"x"), 505, id="body without content"),
        pytest.param(raw_frame(HEADER, 1, header_payload(3)), 505, id="header without method"),
        pytest.param(method_frame(PUBLISH) * 2, 505, id="method inside content"),
        pytest.param(
            method_frame(PUBLISH) + raw_frame(HEADER, 1, header_payload(3, class_id=50)),
            505,
            id="header of another class",
        ),
        pytest.param(method_frame(PUBLISH) + raw_frame(HEADER, 1, header_payload(9)) * 2, 505, id="two headers"),
        pytest.param(method_frame(Channel.Open()), 504, id="channel opened twice"),
        pytest.param(method_frame(Queue.Declare(queue="q"), channel=7), 504, id="channel that is not open"),
        pytest.param(
            raw_frame(METHOD, 1, method_payload(50, 10, b"\0\0\x20ab")), 501, id="arguments that end too early"
        ),
        pytest.param(raw_frame(METHOD, 1, b"\0"), 501, id="half a method"),
        pytest.param(raw_frame(METHOD, 1, b""), 501, id="no method"),
    ],
)
def test_a_connection_with_wrong_frames_is_closed(wire: Wire, data: bytes, code: int) -> None:
    wire.send_bytes(data)
    assert wire.closed().reply_code == code


def test_a_body_longer_than_announced_closes_the_connection(wire: Wire, server: Server) -> None:
    wire.publish(PUBLISH, header_payload(3), b"four")
    if server.version >= (4, 3):
        assert wire.closed().reply_code == 501
    else:  # it waits for the rest
        assert wire.sent_nothing()


def test_a_method_nobody_knows_ends_the_connection(vhost_url: str) -> None:
    wires = {method: Wire(vhost_url) for method in [(50, 250), (99, 10), (60, 999)]}
    for method, wire in wires.items():  # all at once: the dev broker waits for an answer for five seconds
        wire.login()
        wire.open_channel()
        wire.send_bytes(raw_frame(METHOD, 1, method_payload(*method)))
    for wire in wires.values():
        with wire:
            wire.read_to_end()  # RabbitMQ says nothing before it hangs up


@pytest.mark.parametrize(
    ("method", "channel", "text"),
    [
        (Connection.Tune(0, 0, 0), 0, "CHANNEL_ERROR - unexpected method in connection state running"),
        (Connection.Open("/"), 0, "CHANNEL_ERROR - unexpected method in connection state running"),
        (Queue.Declare(queue="q"), 0, "CHANNEL_ERROR - unexpected method in connection state running"),
        (Basic.GetEmpty(), 1, "COMMAND_INVALID - unimplemented method"),
        (Queue.DeclareOk("q", 0, 0), 1, "COMMAND_INVALID - unimplemented method"),
        (Connection.Blocked("x"), 1, "COMMAND_INVALID - unimplemented method"),
    ],
)
def test_a_method_in_the_wrong_place_closes_the_connection(
    wire: Wire, method: base.Frame, channel: int, text: str
) -> None:
    wire.send(method, channel=channel)
    close = wire.closed()
    assert close.reply_text == text
    assert (close.class_id, close.method_id) == (method.index >> 16, method.index & 0xFFFF)


def test_frames_of_two_channels_may_alternate_inside_their_contents(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.open_channel(2)
    wire.send(PUBLISH, channel=1)
    wire.send(PUBLISH, channel=2)
    for channel in (1, 2):
        wire.send_bytes(raw_frame(HEADER, channel, header_payload(4)))
    for part in (b"ab", b"cd"):
        for channel in (1, 2):
            wire.send_bytes(raw_frame(BODY, channel, part))
    for channel in (1, 2):
        wire.send(Basic.Get(queue="q", no_ack=True), channel=channel)
        assert wire.content(Basic.GetOk, channel).body == b"abcd"


def test_heartbeats_may_come_inside_a_content(wire: Wire) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.send(PUBLISH)
    wire.beat()
    wire.send_bytes(raw_frame(HEADER, 1, header_payload(2)))
    wire.beat()
    wire.send_bytes(raw_frame(BODY, 1, b"ab"))
    wire.send(Basic.Get(queue="q", no_ack=True))
    assert wire.content(Basic.GetOk).body == b"ab"


def test_methods_after_a_refused_one_are_ignored_until_the_close_is_confirmed(wire: Wire) -> None:
    wire.send(Queue.Declare(queue="missing", passive=True), Queue.Declare(queue="made-too-late"))
    wire.publish(Basic.Publish(routing_key="q"), header_payload(1), b"x")
    assert wire.closed_channel().reply_code == 404
    wire.open_channel()
    wire.send(Queue.Declare(queue="made-too-late", passive=True))
    assert wire.closed_channel().reply_code == 404


def test_frames_of_a_channel_that_was_closed_by_the_broker_do_not_break_the_connection(wire: Wire) -> None:
    wire.send(Queue.Declare(queue="missing", passive=True))
    wire.expect(Channel.Close)
    wire.publish(Basic.Publish(routing_key="q"), header_payload(3), b"abc")
    wire.send(Channel.CloseOk())
    wire.open_channel()


def test_the_refusal_names_the_method_that_was_refused(wire: Wire) -> None:
    wire.send(Queue.Bind(queue="missing", exchange="amq.direct"))
    close = wire.closed_channel()
    assert (close.reply_code, close.class_id, close.method_id) == (404, 50, 20)
