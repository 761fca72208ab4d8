"""Deliveries around the sizes in which the socket is read: each arrives without another one pushing it."""

from __future__ import annotations

from collections.abc import Iterator

import proxy
import pytest
from consuming import Consumer
from proxy import Proxy
from publishing import OPTIONS, declare, message

from amqtask.broker.admin import Admin
from amqtask.broker.pika_mends import _READ_SIZE
from amqtask.broker.url import parse_urls
from amqtask.wire.message import Properties

pytestmark = pytest.mark.rabbitmq

HEADER_MAX = 126_400
"""About what fits into one content header with frames of 128 KiB."""


@pytest.fixture(params=[None, 65_536, 4096, 999], ids=lambda chunk: f"in pieces of {chunk}" if chunk else "direct")
def consumer(request, vhost_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Consumer]:
    declare(vhost_url, "q")
    if request.param is None:
        made = Consumer(vhost_url)
        yield made
        made.close()
        return
    monkeypatch.setattr(proxy, "_CHUNK", request.param)
    (url,) = parse_urls(vhost_url)
    with Proxy(url.host, url.port) as between:
        made = Consumer(between.url(vhost_url))
        yield made
        made.close()


def around(*sizes: int) -> Iterator[int]:
    """Sizes at which a frame, with what belongs to it, ends just before, at and behind the given ones."""
    for size in sizes:
        yield from range(size - 130, size + 10, 10)


def test_every_body_arrives(consumer: Consumer, vhost_url: str):
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        for size in around(4096, 16_384, _READ_SIZE, 2 * _READ_SIZE, 3 * _READ_SIZE):
            admin.publish(message("q", body=b"x" * size))
            assert len(consumer.next()[1]) == size


def test_every_header_arrives(consumer: Consumer, vhost_url: str):
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        for size in (*around(4096, 16_384, _READ_SIZE), *range(HEADER_MAX - 200, HEADER_MAX, 20)):
            admin.publish(message("q", body=b"\xff", properties=Properties(headers={"big": "x" * size})))
            properties, body = consumer.next()
            assert (len(properties.headers["big"]), body) == (size, b"\xff")


def test_many_at_once_arrive_in_order(consumer: Consumer, vhost_url: str):
    sizes = [*around(_READ_SIZE // 7), *around(_READ_SIZE)]
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        for size in sizes:
            admin.publish(message("q", body=b"x" * size))
    while len(consumer.got) < len(sizes):
        consumer.loop.turn(1)
        assert consumer.failures == []
    assert [len(body) for _, body in consumer.got] == sizes
