"""Quorum queues count how often a message was delivered in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amqp_client import QUORUM, Client, Inbox, Server, get, put, size, take, wait_size
from amqp_wire import Field, Wire, header_payload, typed_headers
from pamqp.commands import Basic, Queue
from pika.adapters.blocking_connection import BlockingChannel

MANY = 30


def declare(channel: BlockingChannel, **arguments: Any) -> None:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare("q", durable=True, arguments={**QUORUM, **given})


def counts(headers: dict[str, Any]) -> tuple[int | None, int | None]:
    return headers.get("x-delivery-count"), headers.get("x-acquired-count")


def test_a_first_delivery_is_not_counted(channel: BlockingChannel, server: Server) -> None:
    declare(channel)
    put(channel, "q", "x")
    assert counts(take(channel, "q").headers) == (None if server.version >= (4, 0) else 0, None)


def test_each_rejection_counts(channel: BlockingChannel, server: Server) -> None:
    declare(channel)
    put(channel, "q", "x", headers={"mine": 1})
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=True)
    for turn in range(1, 4):
        got = take(channel, "q", ack=False)
        assert got.redelivered
        assert counts(got.headers) == (turn, turn if server.version >= (4, 3) else None)
        assert got.headers["mine"] == 1
        channel.basic_reject(got.tag, requeue=True)


def test_a_nack_is_a_return_and_no_failure(channel: BlockingChannel, server: Server) -> None:
    declare(channel)
    put(channel, "q", "x")
    channel.basic_nack(take(channel, "q", ack=False).tag, requeue=True)
    got = take(channel, "q")
    assert got.redelivered
    assert counts(got.headers) == ((None, 1) if server.version >= (4, 3) else (1, None))


@pytest.mark.parametrize("how", ["channel", "connection"])
def test_a_consumer_that_is_gone_counts_as_a_failure(
    connect: Callable[..., Client], channel: BlockingChannel, server: Server, how: str
) -> None:
    declare(channel)
    put(channel, "q", "x")
    other = connect()
    held = other.channel()
    Inbox(held, "q").wait(1)
    (held if how == "channel" else other).close()
    got = take(channel, "q")
    assert got.redelivered
    assert counts(got.headers) == (1, 1 if server.version >= (4, 3) else None)


def test_the_counts_are_64_bit_integers(wire: Wire, server: Server) -> None:
    wire.call(Queue.Declare(queue="q", durable=True, arguments=QUORUM), Queue.DeclareOk)
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.call(Basic.Consume(queue="q"), Basic.ConsumeOk)
    wire.send(Basic.Reject(wire.content(Basic.Deliver).method.delivery_tag, True))
    headers = typed_headers(wire.content(Basic.Deliver).header)
    assert headers.pop("x-delivery-count") == Field("l", 1)
    if server.version >= (4, 3):
        assert headers.pop("x-acquired-count") == Field("l", 1)
    assert headers == {}


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_a_message_is_delivered_once_more_than_the_limit(channel: BlockingChannel, limit: int) -> None:
    declare(channel, x_delivery_limit=limit)
    put(channel, "q", "x")
    for _ in range(limit + 1):
        channel.basic_reject(take(channel, "q", ack=False).tag, requeue=True)
    wait_size(channel, "q", 0)
    assert get(channel, "q") is None


def test_the_limit_of_a_queue_that_sets_none(channel: BlockingChannel, server: Server) -> None:
    declare(channel)
    put(channel, "q", "x")
    turns = 0
    while turns < MANY and (got := get(channel, "q", ack=False)):
        channel.basic_reject(got.tag, requeue=True)
        channel.queue_declare("q", passive=True)
        turns += 1
    assert turns == (21 if server.version >= (4, 0) else MANY)


def test_a_negative_limit_is_none(channel: BlockingChannel, server: Server) -> None:
    declare(channel, x_delivery_limit=-1)
    put(channel, "q", "x")
    turns = 0
    while turns < MANY and (got := get(channel, "q", ack=False)):
        channel.basic_reject(got.tag, requeue=True)
        channel.queue_declare("q", passive=True)
        turns += 1
    assert turns == (MANY if server.version >= (4, 0) else 1)


def test_returns_by_nack_and_the_limit(channel: BlockingChannel, server: Server) -> None:
    declare(channel, x_delivery_limit=2)
    put(channel, "q", "x")
    turns = 0
    while turns < MANY and (got := get(channel, "q", ack=False)):
        channel.basic_nack(got.tag, requeue=True)
        channel.queue_declare("q", passive=True)
        turns += 1
    assert turns == (MANY if server.version >= (4, 3) else 3)


def test_classic_queues_count_nothing(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "x")
    for _ in range(MANY):
        channel.basic_reject(take(channel, "q", ack=False).tag, requeue=True)
    got = take(channel, "q")
    assert got.redelivered
    assert got.properties.headers is None
    assert size(channel, "q") == 0
