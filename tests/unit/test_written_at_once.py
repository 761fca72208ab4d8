"""Writes of pika's connection: made at once where the socket takes them, and in the same order where it does not."""

from __future__ import annotations

import random
import socket

import pytest
from pika import frame, spec
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.callback import CallbackManager
from pika.exceptions import ChannelWrongStateError

from amqtask.broker import pika_mends
from amqtask.broker.loop import SelectLoop
from amqtask.broker.pika_internals import plain_transport
from amqtask.broker.pika_mends import MendedChannel, MendedConnection, Services


class Protocol:
    """Notes the loss of the connection."""

    lost = None

    def connection_lost(self, error):
        self.lost = error


class Written:
    """A connection whose stream is one end of a pair of sockets."""

    def __init__(self):
        self.loop, self.protocol = SelectLoop(), Protocol()
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.transport = _AsyncPlaintextTransport(ours, self.protocol, Services(self.loop))
        self.connection = MendedConnection.__new__(MendedConnection)
        self.connection._transport = self.transport

    def write(self, data):
        self.connection._adapter_emit_data(data)

    def read(self):
        try:
            return self.peer.recv(65536)
        except BlockingIOError:
            return b""


@pytest.fixture
def written():
    made = Written()
    yield made
    made.peer.close()
    if made.transport._sock is not None:
        made.transport._sock.close()
    made.loop.close()


def test_this_pika_lets_us_write_at_once():
    assert plain_transport() is _AsyncPlaintextTransport


def test_what_the_socket_takes_is_there_without_a_turn_of_the_loop(written):
    written.write(b"abc")
    assert written.read() == b"abc"


def test_what_it_does_not_take_follows_in_order(written):
    chance, sent, came = random.Random(7), b"", b""
    for number in range(400):
        data = bytes([number % 251]) * chance.randrange(1, 3000)
        sent += data
        written.write(data)
        if chance.random() < 0.3:
            came += written.read()
        if chance.random() < 0.3:
            written.loop.turn(0)
    while piece := written.read():
        came += piece
        written.loop.turn(0)
    assert came == sent
    assert written.transport.get_write_buffer_size() == 0


def test_a_write_to_a_connection_that_is_gone_is_no_error_of_the_caller_and_the_loss_is_told(written):
    written.peer.close()
    written.write(b"abc")
    for _ in range(4):
        written.loop.turn(0)
    assert isinstance(written.protocol.lost, OSError)
    written.write(b"more")


def test_nothing_is_written_on_a_connection_that_was_cut(written):
    written.transport.abort()
    written.write(b"abc")
    assert written.read() == b""


ACKS = [(3, True), (2**63, False), (7, False)]


@pytest.fixture(params=["ours", "pika's"])
def channel(request, written, monkeypatch):
    """An open channel of a connection, whose acks are framed by us, or by pika should it have changed."""
    monkeypatch.setattr(pika_mends, "fast_publishing_works", lambda: request.param == "ours")
    written.connection.connection_state = MendedConnection.CONNECTION_OPEN
    written.connection.bytes_sent = written.connection.frames_sent = 0
    written.connection.callbacks = CallbackManager()
    opened = MendedChannel(written.connection, 5, lambda _: None)
    opened._set_state(opened.OPEN)
    return opened


def test_acks_are_written_in_their_place_among_the_frames_of_the_channel(written, channel):
    before, behind = spec.Basic.Nack(1, requeue=True), spec.Basic.Nack(9, requeue=True)
    channel.basic_nack(1, requeue=True)
    channel.basic_acks(ACKS)
    channel.basic_nack(9, requeue=True)
    methods = [before, *(spec.Basic.Ack(*ack) for ack in ACKS), behind]
    assert written.read() == b"".join(frame.Method(5, method).marshal() for method in methods)
    assert written.connection.bytes_sent == sum(len(frame.Method(5, method).marshal()) for method in methods)


def test_acks_wait_their_turn_behind_what_the_socket_did_not_take(written, channel):
    written.write(b"x" * 300_000)
    channel.basic_acks(ACKS)
    came = b""
    while written.transport._tx_buffers:
        came += written.read()
        written.loop.turn(0)
    while piece := written.read():
        came += piece
    assert came == b"x" * 300_000 + b"".join(frame.Method(5, spec.Basic.Ack(*ack)).marshal() for ack in ACKS)


@pytest.mark.parametrize("state", ["OPENING", "CLOSING", "CLOSED"])
def test_no_ack_is_written_to_a_channel_that_is_not_open(state, written, channel):
    """The broker would end the connection."""
    channel._set_state(getattr(channel, state))
    with pytest.raises(ChannelWrongStateError):
        channel.basic_acks(ACKS)
    assert written.read() == b""
