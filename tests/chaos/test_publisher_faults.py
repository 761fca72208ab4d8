"""Faults while publishing: what was confirmed is there, what was not is told, whatever breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from nodes import Node
from proxy import Proxy
from publishing import OPTIONS, declare, drain, message, transport
from waiting import wait_for

from amqtask.broker.sync import SyncTransport
from amqtask.errors import AmqtaskError, BrokerBlocked, BrokerUnavailable, PublishTimeout

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def proxy(own_node: Node) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", own_node.port) as proxy:
        yield proxy


@pytest.fixture
def sender(own_vhost: str, proxy: Proxy) -> Iterator[SyncTransport]:
    """Publishes through the proxy to queue q."""
    declare(own_vhost, "q")
    made = transport(proxy.url(own_vhost), replace(OPTIONS, heartbeat=600))  # nothing but timeouts ends a wait
    yield made
    made.close()


def test_nothing_is_lost_when_the_connection_is_cut_while_publishing_many(
    sender: SyncTransport, proxy: Proxy, own_vhost: str
):
    finished = threading.Event()

    def saboteur() -> None:
        for _ in range(6):
            seen = proxy.forwarded
            wait_for(lambda seen=seen: finished.is_set() or proxy.forwarded > seen + 300_000, timeout=30)
            proxy.cut()

    thread = threading.Thread(target=saboteur)
    thread.start()
    batch = [message("q", str(number), b"x" * 200) for number in range(20_000)]
    errors = sender.send_many(batch, timeout=30)
    finished.set()
    thread.join()
    assert errors == {}
    assert proxy.connections > 3
    assert set(drain(own_vhost, "q")) == {str(number) for number in range(20_000)}


@pytest.mark.parametrize("size", [1, 10, 100, 300, 1000, 5000])
def test_a_cut_at_any_byte_loses_nothing(sender: SyncTransport, proxy: Proxy, own_vhost: str, size: int):
    sender.send(message("q", "first"), timeout=10)
    proxy.cut_after(size)
    for number in range(60):
        sender.send(message("q", str(number), b"x" * 100), timeout=20)
    assert proxy.connections == 2
    assert set(drain(own_vhost, "q")) == {"first", *map(str, range(60))}


def test_every_thread_gets_its_answer_when_the_connection_is_cut(sender: SyncTransport, proxy: Proxy, own_vhost: str):
    stop = threading.Event()
    sent: list[str] = []
    failed: list[AmqtaskError] = []

    def work(name: int) -> None:
        number = 0
        while not stop.is_set():
            try:
                sender.send(message("q", f"{name}.{number}"), timeout=20)
                sent.append(f"{name}.{number}")
            except AmqtaskError as error:
                failed.append(error)
            number += 1

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        seen = len(sent)
        wait_for(lambda seen=seen: len(sent) > seen + 100, timeout=30)
        proxy.cut()
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert set(sent) <= set(drain(own_vhost, "q"))


SETTLED = 2.5
"""Seconds after which a RabbitMQ before 4.3 keeps a new queue even when it is killed; a younger one can be gone."""


@pytest.mark.rabbitmq_only("keeping messages over a restart")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_nothing_confirmed_is_lost_when_the_broker_goes_while_publishing(own_node: Node, own_vhost: str, how: str):
    declare(own_vhost, "q")
    kept_from = time.monotonic() + SETTLED
    sender = transport(own_vhost)
    confirmed: list[str] = []
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            batch = [message("q", str(n)) for n in range(number, number + 100)]
            errors = sender.send_many(batch, timeout=60)
            confirmed.extend(str(number + n) for n in range(100) if n not in errors)
            number += 100

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: len(confirmed) > 500 and time.monotonic() > kept_from, timeout=30)
    if how == "kill":
        own_node.kill()
    own_node.restart()
    seen = len(confirmed)
    wait_for(lambda: len(confirmed) > seen + 500, timeout=90)
    stop.set()
    thread.join(60)
    sender.close()
    found = drain(own_vhost, "q")
    assert set(confirmed) <= set(found)


@pytest.mark.rabbitmq_only("keeping messages over a restart")
def test_a_send_waits_for_a_broker_that_comes_back(own_node: Node, own_vhost: str):
    declare(own_vhost, "q")
    kept_from = time.monotonic() + SETTLED
    sender = transport(own_vhost)
    sender.send(message("q", "before"), timeout=10)
    wait_for(lambda: time.monotonic() > kept_from)
    own_node.kill()
    restart = threading.Thread(target=own_node.restart)
    restart.start()
    sender.send(message("q", "after"), timeout=90)
    restart.join()
    sender.close()
    assert set(drain(own_vhost, "q")) == {"before", "after"}


def test_a_broker_that_stays_away_is_told_when_the_time_is_over(sender: SyncTransport, proxy: Proxy):
    sender.send(message("q"), timeout=10)
    proxy.refuse()
    proxy.cut()
    start = time.monotonic()
    with pytest.raises((BrokerUnavailable, PublishTimeout)):
        sender.send(message("q"), timeout=1)
    assert time.monotonic() - start > 0.9
    proxy.refuse(False)
    sender.send(message("q"), timeout=20)


def test_a_frozen_connection_times_out_and_a_new_one_is_made(sender: SyncTransport, proxy: Proxy, own_vhost: str):
    sender.send(message("q", "first"), timeout=10)
    proxy.freeze()
    with pytest.raises(PublishTimeout, match="may or may not be stored"):
        sender.send(message("q", "frozen"), timeout=0.5)
    proxy.cut()
    proxy.thaw()
    sender.send(message("q", "second"), timeout=20)
    assert proxy.connections == 2
    assert drain(own_vhost, "q")["second"] == 1


def test_a_frozen_handshake_is_given_up(own_vhost: str, proxy: Proxy):
    declare(own_vhost, "q")
    proxy.freeze()
    sender = transport(proxy.url(own_vhost), replace(OPTIONS, connect_timeout=0.5))
    with pytest.raises(BrokerUnavailable, match="no answer in time"):
        sender.send(message("q"), timeout=2)
    proxy.cut()
    proxy.thaw()
    sender.send(message("q"), timeout=20)
    sender.close()


def test_a_frozen_connection_is_closed_in_seconds(sender: SyncTransport, proxy: Proxy):
    sender.send(message("q"), timeout=10)
    proxy.freeze()
    start = time.monotonic()
    sender.close()
    assert time.monotonic() - start < 60


def test_a_slow_line_is_survived(sender: SyncTransport, proxy: Proxy, own_vhost: str):
    proxy.delay(0.05)
    assert sender.send_many([message("q", str(number)) for number in range(1200)], timeout=20) == {}
    assert len(drain(own_vhost, "q")) == 1200


def test_a_batch_without_progress_fails_with_what_is_left(sender: SyncTransport, proxy: Proxy):
    sender.send(message("q"), timeout=10)
    proxy.freeze()
    errors = sender.send_many([message("q", str(number)) for number in range(2000)], timeout=1)
    assert len(errors) == 2000
    assert {type(error) for error in errors.values()} <= {PublishTimeout, BrokerUnavailable}


def test_a_broker_that_blocks_is_told_and_taken_again_when_it_unblocks(own_node: Node, own_vhost: str):
    declare(own_vhost, "q")
    sender = transport(own_vhost, replace(OPTIONS, blocked_timeout=1.0))
    sender.send(message("q", "before"), timeout=10)
    own_node.block()
    try:
        engine = sender._engine
        assert engine is not None
        while not engine.publisher.blocked:  # the first may still pass
            sender.send_many([message("q", "blocked")] * 20, timeout=20)
        with pytest.raises(BrokerBlocked, match="blocked publishers"):
            sender.send(message("q", "blocked"), timeout=20)
        errors = sender.send_many([message("q", "many")] * 700, timeout=20)
        assert {type(error) for error in errors.values()} == {BrokerBlocked}
    finally:
        own_node.unblock()
    sender.send(message("q", "after"), timeout=30)
    sender.close()
    assert drain(own_vhost, "q")["after"] == 1


def test_a_send_waits_for_a_short_block_to_end(own_node: Node, own_vhost: str):
    declare(own_vhost, "q")
    sender = transport(own_vhost, replace(OPTIONS, blocked_timeout=60.0))
    sender.send(message("q", "before"), timeout=10)
    engine = sender._engine
    assert engine is not None
    own_node.block()

    def unblock() -> None:
        try:
            wait_for(lambda: engine.publisher.blocked, timeout=20)
        finally:
            own_node.unblock()

    thread = threading.Thread(target=unblock)
    thread.start()
    while thread.is_alive():
        sender.send(message("q", "meanwhile"), timeout=60)
    thread.join()
    sender.send(message("q", "after"), timeout=60)
    sender.close()
    assert {"before", "meanwhile", "after"} == set(drain(own_vhost, "q"))


def test_the_management_closing_every_connection_loses_nothing(own_node: Node, own_vhost: str):
    declare(own_vhost, "q")
    sender = transport(own_vhost)
    confirmed: list[str] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sender.send(message("q", str(len(confirmed))), timeout=20)
            confirmed.append(str(len(confirmed)))

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(3):
        seen = len(confirmed)
        wait_for(lambda seen=seen: len(confirmed) > seen + 50, timeout=30)
        own_node.close_connections()
    stop.set()
    thread.join(30)
    sender.close()
    assert set(confirmed) <= set(drain(own_vhost, "q"))
