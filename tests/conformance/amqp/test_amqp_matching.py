"""Which queues a message reaches, by the kind of exchange."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from amqp_client import Server, put, size
from amqp_wire import Wire, raw_headers
from pamqp.commands import Basic, Confirm, Queue
from pika.adapters.blocking_connection import BlockingChannel

TOPICS = [
    # pattern, key, does it match?
    ("a.b", "a.b", True),
    ("a.b", "a", False),
    ("a.b", "a.b.c", False),
    ("*", "a", True),
    ("*", "", False),
    ("*", "a.b", False),
    ("*.*", "a.b", True),
    ("*.*", "a.", True),
    ("a.*", "a", False),
    ("a.*", "a.b", True),
    ("a.*", "a.b.c", False),
    ("*.b", "a.b", True),
    ("*.b", "b", False),
    ("a.*.c", "a.b.c", True),
    ("a.*.c", "a..c", True),
    ("a.*.c", "a.c", False),
    ("#", "", True),
    ("#", "a", True),
    ("#", "a.b.c", True),
    ("a.#", "a", True),
    ("a.#", "a.b", True),
    ("a.#", "a.b.c", True),
    ("a.#", "b", False),
    ("a.#", "ab", False),
    ("#.a", "a", True),
    ("#.a", "b.a", True),
    ("#.a", "c.b.a", True),
    ("#.a", "a.b", False),
    ("a.#.c", "a.c", True),
    ("a.#.c", "a.b.c", True),
    ("a.#.c", "a.b.b.c", True),
    ("a.#.c", "a.b", False),
    ("#.b.#", "a.b.c", True),
    ("#.b.#", "b", True),
    ("#.b.#", "a.c", False),
    ("#.#", "", True),
    ("#.#", "a", True),
    ("*.#", "", False),
    ("*.#", "a", True),
    ("*.#", "a.b.c", True),
    ("#.*", "", False),
    ("#.*", "a.b", True),
    ("*.#.*", "a", False),
    ("*.#.*", "a.b", True),
    ("", "", True),
    ("", "a", False),
    ("a#", "a#", True),
    ("a#", "ab", False),
    ("a*", "ab", False),
    ("*.a.#.b.*", "x.a.b.y", True),
    ("*.a.#.b.*", "x.a.b.b.b.y", True),
    ("*.a.#.b.*", "x.a.y", False),
    ("A", "a", False),
    ("ключ.*", "ключ.日本", True),
]


def reaches(channel: BlockingChannel, exchange: str, key: str, **properties: Any) -> bool:
    put(channel, key, "x", exchange=exchange, **properties)
    return bool(size(channel, "q"))


@pytest.fixture
def queue(channel: BlockingChannel) -> None:
    channel.queue_declare("q")


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(("pattern", "key", "matches"), TOPICS)
def test_a_topic_exchange_matches_words(channel: BlockingChannel, pattern: str, key: str, matches: bool) -> None:
    channel.queue_bind("q", "amq.topic", pattern)
    assert reaches(channel, "amq.topic", key) is matches


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("bound", "key", "matches"), [("a", "a", True), ("a", "A", False), ("#", "a", False), ("", "", True)]
)
def test_a_direct_exchange_compares_keys(channel: BlockingChannel, bound: str, key: str, matches: bool) -> None:
    channel.queue_bind("q", "amq.direct", bound)
    assert reaches(channel, "amq.direct", key) is matches


@pytest.mark.usefixtures("queue")
def test_a_fanout_exchange_ignores_keys(channel: BlockingChannel) -> None:
    channel.queue_bind("q", "amq.fanout", "one")
    assert reaches(channel, "amq.fanout", "another")


HEADERS: list[tuple[dict[str, Any], dict[str, Any] | None, bool]] = [
    # binding, headers, does it match?
    ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
    ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
    ({"a": 1, "b": 2}, {"a": 1}, False),
    ({"x-match": "all", "a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ({"x-match": "all", "a": 1}, {"a": "1"}, False),
    ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "a": 1, "b": 2}, {"a": 2}, False),
    ({"x-match": "any", "a": 1}, {}, False),
    ({"x-match": "any", "a": 1}, None, False),
    ({"x-match": "all"}, {}, True),
    ({"x-match": "all"}, None, True),
    ({"x-match": "all"}, {"a": 1}, True),
    ({"x-match": "any"}, {"a": 1}, False),
    ({}, {"a": 1}, True),
    ({"a": None}, {"a": 5}, True),
    ({"a": None}, {"b": 5}, False),
    ({"a": "text"}, {"a": "text"}, True),
    ({"a": True}, {"a": True}, True),
    ({"a": True}, {"a": False}, False),
    ({"x-match": "all", "x-a": 1, "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "x-a": 1, "b": 2}, {"x-a": 1}, False),
    ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"b": 2}, False),
    ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"b": 2, "x-a": 1}, True),
    ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}, True),
    ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 2}, False),
]


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(("binding", "headers", "matches"), HEADERS)
def test_a_headers_exchange_compares_tables(
    channel: BlockingChannel, binding: dict[str, Any], headers: dict[str, Any] | None, matches: bool
) -> None:
    channel.queue_bind("q", "amq.headers", "", binding)
    assert reaches(channel, "amq.headers", "any.key", headers=headers) is matches


FIELDS = {
    # a field of the message with its type: does it match the 32-bit integer 5?
    b"l" + struct.pack(">q", 5): True,
    b"b" + struct.pack(">b", 5): True,
    b"S" + struct.pack(">I", 1) + b"5": False,
    b"V": False,
    b"t\x01": False,
}
LIKE_NUMBERS = [b"d" + struct.pack(">d", 5.0), b"T" + struct.pack(">Q", 5)]


@pytest.mark.parametrize("field", [*FIELDS, *LIKE_NUMBERS])
def test_a_headers_exchange_compares_integers_by_value(wire: Wire, server: Server, field: bytes) -> None:
    wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
    wire.call(Queue.Bind(queue="q", exchange="amq.match", arguments={"n": 5}), Queue.BindOk)
    wire.call(Confirm.Select(), Confirm.SelectOk)
    wire.publish(Basic.Publish(exchange="amq.match", mandatory=True), raw_headers(b"\x01n" + field))
    if not FIELDS.get(field, server.version < (4, 0)):
        assert wire.content(Basic.Return).method.reply_code == 312
    wire.expect(Basic.Ack)
