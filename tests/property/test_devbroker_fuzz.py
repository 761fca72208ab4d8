"""Whatever a client sends, legal or not, the dev broker answers or hangs up, and serves the next one."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pamqp import commands, frame, header

from amqtask.testing.devbroker import DevBroker

LIMITS = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
PROTOCOL = b"AMQP\x00\x00\x09\x01"

_names = st.sampled_from(["", "q", "r", "amq.direct", "amq.topic", "x", "amq.gen-1", "n" * 120])
_keys = st.sampled_from(["", "q", "a.b", "#", "*.b"])
_small = st.integers(0, 3)
_flag = st.booleans()
_arguments = st.dictionaries(
    st.sampled_from(
        [
            "x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow", "x-max-priority",
            "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-queue-type", "x-delivery-limit",
            "x-single-active-consumer", "x-priority", "alternate-exchange", "x-match", "x-unknown",
        ]
    ),
    st.one_of(
        st.integers(-1, 300), st.booleans(), st.sampled_from(["", "q", "quorum", "classic", "drop-head", "all", "x"])
    ),
    max_size=3,
)  # fmt: skip

METHODS = st.one_of(
    st.builds(
        commands.Exchange.Declare, st.just(0), _names, st.sampled_from(["direct", "topic", "fanout", "headers", "odd"]),
        _flag, _flag, _flag, _flag, _flag, _arguments,
    ),
    st.builds(commands.Exchange.Delete, st.just(0), _names, _flag, _flag),
    st.builds(commands.Exchange.Bind, st.just(0), _names, _names, _keys, _flag, _arguments),
    st.builds(commands.Exchange.Unbind, st.just(0), _names, _names, _keys, _flag, _arguments),
    st.builds(commands.Queue.Declare, st.just(0), _names, _flag, _flag, _flag, _flag, _flag, _arguments),
    st.builds(commands.Queue.Bind, st.just(0), _names, _names, _keys, _flag, _arguments),
    st.builds(commands.Queue.Unbind, st.just(0), _names, _names, _keys, _arguments),
    st.builds(commands.Queue.Purge, st.just(0), _names, _flag),
    st.builds(commands.Queue.Delete, st.just(0), _names, _flag, _flag, _flag),
    st.builds(commands.Basic.Qos, st.just(0), _small, _flag),
    st.builds(
        commands.Basic.Consume, st.just(0), _names, st.sampled_from(["", "t", "u"]), _flag, _flag, _flag, _flag,
        _arguments,
    ),
    st.builds(commands.Basic.Cancel, st.sampled_from(["t", "u", "v"]), _flag),
    st.builds(commands.Basic.Get, st.just(0), _names, _flag),
    st.builds(commands.Basic.Ack, _small, _flag),
    st.builds(commands.Basic.Nack, _small, _flag, _flag),
    st.builds(commands.Basic.Reject, _small, _flag),
    st.builds(commands.Basic.Recover, _flag),
    st.builds(commands.Confirm.Select, _flag),
    st.builds(commands.Channel.Flow, _flag),
    st.just(commands.Tx.Select()),
    st.tuples(
        st.builds(commands.Basic.Publish, st.just(0), _names, _keys, _flag, st.just(False)),
        st.binary(max_size=300),
        st.dictionaries(st.sampled_from(["CC", "BCC", "h"]), st.sampled_from(["q", ["q", "r"], 3]), max_size=2),
        st.sampled_from([None, "", "0", "5", "x"]),
        st.sampled_from([None, 0, 7, 255]),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def broker() -> Iterator[DevBroker]:
    with DevBroker() as started:
        yield started


class Peer:
    """A client below any library: bytes out, frames in."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 5)
        self.sock.settimeout(5)
        self._data = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *methods: Any, channel: int = 0) -> None:
        self.sock.sendall(b"".join(frame.marshal(method, channel) for method in methods))

    def open(self) -> None:
        """Log in and open channel 1."""
        self.sock.sendall(PROTOCOL)
        self.until(commands.Connection.Start)
        self.send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
        self.until(commands.Connection.Tune)
        self.send(commands.Connection.TuneOk(2047, 131072, 0), commands.Connection.Open("/"))
        self.until(commands.Connection.OpenOk)
        self.send(commands.Channel.Open(), channel=1)
        self.until(commands.Channel.OpenOk)

    def until(self, *kinds: type) -> Any:
        """Read frames until one is of these kinds; None when the broker hung up."""
        while True:
            found = self._next()
            if found is None or isinstance(found, kinds):
                return found

    def _next(self) -> Any:
        while len(self._data) < 7 or len(self._data) < struct.unpack(">I", self._data[3:7])[0] + 8:
            try:
                piece = self.sock.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                return None
            self._data += piece
        size, _, found = frame.unmarshal(self._data)
        self._data = self._data[size:]
        return found

    def hung_up(self) -> bool:
        """Read until the broker closes its side; times out (and fails) if it never does."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        return True


def serves(broker: DevBroker) -> bool:
    """Whether a new client can do its work."""
    with Peer(broker.port) as peer:
        peer.open()
        peer.send(commands.Queue.Declare(0, "", exclusive=True), channel=1)
        return peer.until(commands.Queue.DeclareOk) is not None


@LIMITS
@given(data=st.binary(min_size=1, max_size=400))
def test_random_bytes_instead_of_a_handshake_end_the_connection(broker: DevBroker, data: bytes) -> None:
    with Peer(broker.port) as peer:
        peer.sock.sendall(data)
        peer.sock.shutdown(socket.SHUT_WR)
        assert peer.hung_up()
    assert serves(broker)


@LIMITS
@given(data=st.binary(min_size=1, max_size=400), kind=st.sampled_from([1, 2, 3, 8, 9]), framed=st.booleans())
def test_random_bytes_after_the_login_end_the_connection(
    broker: DevBroker, data: bytes, kind: int, framed: bool
) -> None:
    with Peer(broker.port) as peer:
        peer.open()
        peer.sock.sendall(struct.pack(">BHI", kind, 1, len(data)) + data + b"\xce" if framed else data)
        peer.sock.shutdown(socket.SHUT_WR)
        assert peer.hung_up()
    assert serves(broker)


@LIMITS
@given(methods=st.lists(METHODS, max_size=25))
def test_any_sequence_of_methods_is_answered_or_refused(broker: DevBroker, methods: list[Any]) -> None:
    with Peer(broker.port) as peer:
        peer.open()
        for method in methods:
            try:
                if isinstance(method, tuple):
                    publish, body, headers, expiration, priority = method
                    properties = commands.Basic.Properties(headers=headers, expiration=expiration, priority=priority)
                    parts = [publish, header.ContentHeader(0, len(body), properties)]
                    peer.send(*parts, channel=1)
                    if body:
                        peer.sock.sendall(struct.pack(">BHI", 3, 1, len(body)) + body + b"\xce")
                else:
                    peer.send(method, channel=1)
            except ConnectionError:
                break
        with contextlib.suppress(ConnectionError):
            peer.send(commands.Channel.Close(200, "done", 0, 0), channel=1)
        # one of: its channel closed in peace, a channel error, a connection error, hung up
        peer.until(commands.Channel.CloseOk, commands.Channel.Close, commands.Connection.Close)
    assert serves(broker)
