"""The worker's consumers while messages are on their way: replaced, cancelled, and without an answer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from proxy import Proxy
from publishing import OPTIONS, declare, drain, message, transport

from amqtask.broker.admin import Admin
from amqtask.broker.link import Link
from amqtask.broker.pika_driver import new_loop
from amqtask.broker.url import parse_urls
from amqtask.errors import BrokerError
from amqtask.topology.declarations import QueueDeclare
from amqtask.worker import consumer
from amqtask.worker.consumer import Consumers

pytestmark = pytest.mark.rabbitmq

MESSAGES = 3000


class Bench:
    """Consumers of the queues ``q`` and ``r`` on a loop of their own, and what they were given."""

    def __init__(self, url: str) -> None:
        self.loop = new_loop()
        self.channel: Any = None
        self.seen: Counter[str] = Counter()
        self.again: list[str] = []
        self.failures: list[object] = []
        self.ready: list[bool] = []
        self.losses: list[object] = []
        self.consumers = Consumers(
            self.loop,
            "bench",
            lambda _version: [QueueDeclare("q"), QueueDeclare("r")],
            verify_only=False,
            on_message=self.on_message,
            on_open=self.on_open,
            on_ready=lambda: self.ready.append(True),
            on_lost=lambda: None,
            on_fatal=self.failures.append,
        )
        self.consumers.add("q", 5, None)
        self.consumers.add("r", 5, None)
        self.link = Link(self.loop, parse_urls(url), OPTIONS, on_up=self.consumers.connected, on_down=self.down)
        self.link.start()

    def down(self, error: BrokerError) -> None:
        self.losses.append(error)
        self.consumers.disconnected(error)

    def on_open(self, channel: Any) -> None:
        self.channel = channel

    def on_message(self, _queue: str, method: Any, properties: Any, _body: bytes) -> None:
        self.seen[properties.message_id] += 1
        if method.redelivered:
            self.again.append(properties.message_id)
        self.took(method)

    def took(self, method: Any) -> None:
        """What the test does with a delivery."""
        self.channel.basic_ack(method.delivery_tag)

    def until(self, condition: Any) -> None:
        self.loop.call_later(30, lambda: self.failures.append("time is over"))
        while not condition() and not self.failures:
            self.loop.turn(1)
        assert self.failures == []

    def close(self) -> None:
        self.consumers.cancel_all(lambda: self.link.stop(self.loop.stop))
        self.loop.run()
        self.loop.close()


@pytest.fixture
def bench(vhost_url: str):
    declare(vhost_url, "q", "r")
    sender = transport(vhost_url)
    assert sender.send_many([message("q", str(number)) for number in range(MESSAGES)], timeout=60) == {}
    sender.close()
    made = Bench(vhost_url)
    yield made
    made.close()


def test_a_change_of_prefetch_neither_loses_nor_repeats_what_was_on_its_way(bench: Bench):
    def took(method: Any) -> None:
        bench.channel.basic_ack(method.delivery_tag)
        if len(bench.seen) % 20 == 0:
            bench.consumers.set_prefetch("q", 50 if len(bench.seen) % 40 else 5)

    bench.took = took
    bench.until(lambda: bench.seen.total() == MESSAGES)
    assert bench.again == []
    assert set(bench.seen.values()) == {1}


def test_a_change_of_prefetch_before_the_first_message_counts(bench: Bench):
    bench.took = lambda _method: None  # holds everything
    open_channel = bench.on_open

    def on_open(channel: Any) -> None:
        open_channel(channel)
        bench.loop.call_soon_threadsafe(lambda: bench.consumers.set_prefetch("q", 50))

    bench.consumers._on_open = on_open
    bench.until(lambda: bench.seen.total() >= 50)


@pytest.mark.parametrize("changing", [False, True])
def test_nothing_comes_after_all_consumers_are_cancelled(bench: Bench, vhost_url: str, changing: bool):
    bench.until(lambda: bench.seen.total() > 100)
    if changing:
        bench.consumers.set_prefetch("q", 50)
    ends: list[int] = []
    bench.consumers.cancel_all(lambda: ends.append(bench.seen.total()))
    bench.until(lambda: ends)
    closed: list[bool] = []
    bench.consumers.close_channel(lambda: closed.append(True))
    bench.until(lambda: closed)
    assert ends == [bench.seen.total()]
    assert bench.again == []
    left = drain(vhost_url, "q")
    assert left.keys() | bench.seen.keys() == {str(number) for number in range(MESSAGES)}
    assert not left.keys() & bench.seen.keys()


def test_a_consumer_that_ends_otherwise_is_not_waited_for(bench: Bench, vhost_url: str):
    bench.until(lambda: bench.seen.total() > 100)
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        admin.delete_queue("r")
    ends: list[bool] = []
    bench.consumers.cancel_all(lambda: ends.append(True))
    bench.until(lambda: ends)


def test_a_broker_that_does_not_answer_is_connected_to_anew(vhost_url: str, monkeypatch: pytest.MonkeyPatch):
    declare(vhost_url, "q", "r")
    monkeypatch.setattr(consumer, "_ANSWER", 0.5)
    (url,) = parse_urls(vhost_url)
    with Proxy(url.host, url.port) as proxy:
        bench = Bench(proxy.url(vhost_url))
        up, down = bench.link.on_up, bench.link.on_down

        def freeze(connection: Any) -> None:
            bench.link.on_up = up
            proxy.freeze()
            up(connection)

        def thaw(error: BrokerError) -> None:
            proxy.thaw()
            monkeypatch.setattr(consumer, "_ANSWER", 60.0)
            down(error)

        bench.link.on_up, bench.link.on_down = freeze, thaw
        bench.until(lambda: bench.ready)
        assert (len(bench.losses), proxy.connections) == (1, 2)
        bench.close()
