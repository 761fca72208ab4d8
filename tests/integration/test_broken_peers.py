"""Peers that are no broker, or go at the wrong moment: each is a readable error in time, and leaves nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pamqp import commands, frame
from publishing import OPTIONS, message

from amqtask.broker import pika_driver
from amqtask.broker.admin import Admin
from amqtask.broker.aio import AioTransport
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.pika_driver import new_loop, open_connection
from amqtask.broker.pika_mends import Services
from amqtask.broker.sync import SyncTransport
from amqtask.broker.url import BrokerURL, parse_urls
from amqtask.errors import BrokerUnavailable

HASTY = replace(OPTIONS, connect_timeout=0.3, verify=False)
START = frame.marshal(commands.Connection.Start(0, 9, {"product": "RabbitMQ"}, "PLAIN", "en_US"), 0)


def silent(_: socket.socket) -> None:
    """Says nothing."""


def closing(client: socket.socket) -> None:
    client.close()


def resetting(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def talking_http(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    client.close()


def never_tuning(client: socket.socket) -> None:
    client.recv(100)
    client.sendall(START)


def gone_while_logging_in(client: socket.socket) -> None:
    never_tuning(client)
    client.recv(1000)
    client.close()


PEERS = [silent, closing, resetting, talking_http, never_tuning, gone_while_logging_in]


class Peer:
    """Listens on a free port and does the same to every client."""

    def __init__(self, behaviour) -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def url(self, *, tls: bool = False, **parts: object) -> BrokerURL:
        (url,) = parse_urls(f"amqp://127.0.0.1:{self.port}/")
        return replace(url, tls=tls, **parts)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._listener.close()
        for client in self._clients:
            client.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            with contextlib.suppress(OSError):
                self._behaviour(client)


@pytest.fixture
def peer(request) -> Iterator[Peer]:
    made = Peer(request.param)
    yield made
    made.close()


def peers(*behaviours):
    return pytest.mark.parametrize("peer", behaviours, indirect=True, ids=lambda behaviour: behaviour.__name__)


@pytest.fixture
def nothing_left_open() -> Iterator[None]:
    """The test fails when it leaves a socket to the garbage collector."""
    gc.collect()
    yield
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def send(url: BrokerURL, options: ConnectionOptions) -> None:
    sender = SyncTransport((url,), options)
    try:
        sender.send(message("q"), timeout=options.connect_timeout + 0.2)
    finally:
        sender.close()


def asend(url: BrokerURL, options: ConnectionOptions) -> None:
    asyncio.run(AioTransport((url,), options).asend(message("q"), timeout=options.connect_timeout + 0.2))


def admin_send(url: BrokerURL, options: ConnectionOptions) -> None:
    with Admin((url,), options) as admin:
        admin.publish(message("q"))


@peers(*PEERS)
@pytest.mark.parametrize("way", [send, asend, admin_send])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.usefixtures("nothing_left_open")
def test_a_peer_that_is_no_broker_is_told(peer: Peer, way, tls: bool):
    with pytest.raises(BrokerUnavailable):
        way(peer.url(tls=tls), HASTY)


@peers(closing)
@pytest.mark.parametrize("way", [send, asend, admin_send])
@pytest.mark.parametrize(("tls", "says"), [(False, "TLS port"), (True, "client certificate")], ids=["plain", "tls"])
def test_the_usual_causes_of_a_closed_connection_are_named(peer: Peer, way, tls: bool, says: str):
    told = ""
    for seconds in (0.3, 3.0, 30.0):  # a busy machine may not get so far in less
        with pytest.raises(BrokerUnavailable) as caught:
            way(peer.url(tls=tls), replace(HASTY, connect_timeout=seconds))
        told = str(caught.value)
        if says in told:
            break
    assert says in told


@peers(resetting)
@pytest.mark.usefixtures("nothing_left_open")
def test_a_peer_that_resets_at_once_is_a_failed_attempt_each_time(peer: Peer):
    for number in range(60):
        loop, errors = new_loop(), []
        nothing = errors.append
        open_connection(
            loop, peer.url(tls=bool(number % 2)), HASTY, on_open=nothing, on_error=errors.append, on_closed=nothing,
            on_blocked=nothing,
        )  # fmt: skip
        while not errors:
            loop.turn(1)
        loop.close()
        assert [type(error) for error in errors] == [BrokerUnavailable]


@pytest.mark.parametrize(("peer", "tls"), [(silent, False), (silent, True), (never_tuning, False)], indirect=["peer"])
@pytest.mark.usefixtures("nothing_left_open")
def test_an_attempt_that_is_given_up_is_over_at_once(peer: Peer, tls: bool, monkeypatch: pytest.MonkeyPatch):
    """Even when the loop does not turn any more."""
    monkeypatch.setattr(pika_driver, "_GRACE", -0.1)  # before pika itself gives up
    loop, errors = new_loop(), []
    nothing = errors.append
    open_connection(
        loop, peer.url(tls=tls), HASTY, on_open=nothing, on_error=errors.append, on_closed=nothing, on_blocked=nothing
    )
    while not errors:
        loop.turn(1)
    loop.close()
    assert "no answer in time" in str(errors[0])


@peers(silent)
@pytest.mark.parametrize(("given", "otherwise"), [(None, 0.1), (0.1, 600.0), (1.0, 0.1)])
def test_the_time_to_connect_that_the_url_gives_wins(peer: Peer, given: float | None, otherwise: float):
    loop, errors = new_loop(), []
    nothing = errors.append
    begin = time.monotonic()
    options = replace(HASTY, connect_timeout=otherwise)
    open_connection(
        loop, peer.url(connect_timeout=given), options, on_open=nothing, on_error=nothing, on_closed=nothing,
        on_blocked=nothing,
    )  # fmt: skip
    while not errors:
        loop.turn(1)
    loop.close()
    assert time.monotonic() - begin >= (given or otherwise)


def test_a_peer_that_is_gone_as_soon_as_it_was_there_is_a_failed_attempt():
    loop, errors = new_loop(), []
    services = Services(loop)
    unconnected = socket.socket()
    services.create_streaming_connection(
        protocol_factory=lambda: None, sock=unconnected, on_done=errors.append, ssl_context=None, server_hostname=None
    )
    loop.turn(1)
    assert [type(error) for error in errors] == [ConnectionResetError]
    assert unconnected.fileno() == -1
    loop.close()
