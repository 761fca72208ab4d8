"""Queues with a limit of messages or bytes, and what happens above it."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_client import QUORUM, Client, Inbox, put, size, take, take_all, wait_size
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError

KINDS = {"classic": {}, "quorum": QUORUM}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def declare(channel: BlockingChannel, kind: str, **arguments: Any) -> None:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare("q", durable=True, arguments={**KINDS[kind], **given})


def test_the_oldest_messages_go(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_max_length=3)
    put(channel, "q", *"abcde")
    wait_size(channel, "q", 3)
    assert take_all(channel, "q") == [b"c", b"d", b"e"]


def test_naming_the_default_changes_nothing(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_max_length=1, x_overflow="drop-head")
    put(channel, "q", *"ab")
    wait_size(channel, "q", 1)
    assert take_all(channel, "q") == [b"b"]


def test_only_ready_messages_count_in_classic_queues(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length=2)
    put(channel, "q", *"ab")
    held = [take(channel, "q", ack=False) for _ in range(2)]
    put(channel, "q", *"cd")
    assert size(channel, "q") == 2
    channel.basic_nack(held[-1].tag, multiple=True)
    wait_size(channel, "q", 2)
    assert take_all(channel, "q") == [b"c", b"d"]


def test_bodies_count_as_bytes(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length_bytes=100)
    put(channel, "q", b"a" * 60, b"b" * 40, b"c" * 30)
    assert [body[:1] for body in take_all(channel, "q")] == [b"b", b"c"]


def test_a_limit_of_bytes_keeps_the_latest_that_fit(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_max_length_bytes=10_000)
    put(channel, "q", *(b"%d" % number * 4000 for number in range(5)))
    wait_size(channel, "q", 2)
    assert [body[:1] for body in take_all(channel, "q")] == [b"3", b"4"]


def test_a_message_larger_than_the_queue_is_dropped_with_all_before_it(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, x_max_length_bytes=1000)
    put(channel, "q", b"small", b"x" * 5000)
    wait_size(channel, "q", 0)


def test_a_length_of_zero_keeps_nothing(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length=0)
    put(channel, "q", "x")
    assert size(channel, "q") == 0


def test_a_waiting_consumer_gets_around_a_length_of_zero(client: Client, channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length=0)
    inbox = Inbox(client.channel(), "q", auto_ack=True)
    put(channel, "q", "x")
    inbox.wait(1)


def test_what_is_refused_is_nacked(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length=2, x_overflow="reject-publish")
    put(channel, "q", *"ab")
    for _ in range(2):
        with pytest.raises(NackError):
            put(channel, "q", "c")
    take(channel, "q")
    put(channel, "q", "d")
    assert take_all(channel, "q") == [b"b", b"d"]


def test_a_quorum_queue_refuses_one_later(channel: BlockingChannel) -> None:
    declare(channel, "quorum", x_max_length=2, x_overflow="reject-publish")
    put(channel, "q", *"abc")
    with pytest.raises(NackError):
        put(channel, "q", "d")
    assert take_all(channel, "q") == [b"a", b"b", b"c"]


def test_refusing_by_bytes(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length_bytes=100, x_overflow="reject-publish")
    put(channel, "q", b"a" * 90, b"b" * 10)
    with pytest.raises(NackError):
        put(channel, "q", b"c")
    assert size(channel, "q") == 2


def test_without_confirms_what_is_refused_is_lost(client: Client) -> None:
    channel = client.channel()
    declare(channel, "classic", x_max_length=1, x_overflow="reject-publish")
    put(channel, "q", *"abc")
    assert take(channel, "q").body == b"a"
    assert size(channel, "q") == 0


def test_one_of_several_queues_that_refuses_is_enough_for_a_nack(channel: BlockingChannel) -> None:
    declare(channel, "classic", x_max_length=1, x_overflow="reject-publish")
    channel.queue_declare("roomy")
    channel.queue_bind("q", "amq.fanout")
    channel.queue_bind("roomy", "amq.fanout")
    put(channel, "", "a", exchange="amq.fanout")
    with pytest.raises(NackError):
        put(channel, "", "b", exchange="amq.fanout")
    assert (size(channel, "q"), size(channel, "roomy")) == (1, 2)


def test_what_is_refused_is_not_dead_lettered(channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    dead = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead"}
    declare(channel, "classic", x_max_length=1, x_overflow="reject-publish", **dead)
    put(channel, "q", "a")
    with pytest.raises(NackError):
        put(channel, "q", "b")
    assert size(channel, "dead") == 0


def test_what_is_refused_can_be_dead_lettered(channel: BlockingChannel) -> None:
    channel.queue_declare("dead")
    dead = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead"}
    declare(channel, "classic", x_max_length=1, x_overflow="reject-publish-dlx", **dead)
    put(channel, "q", "a")
    with pytest.raises(NackError):
        put(channel, "q", "b")
    got = take(channel, "dead")
    assert (got.body, got.headers["x-death"][0]["reason"]) == (b"b", "maxlen")
    assert take_all(channel, "q") == [b"a"]


def test_dead_letters_count_against_the_limit_of_their_target(channel: BlockingChannel) -> None:
    channel.queue_declare("dead", arguments={"x-max-length": 2})
    declare(channel, "classic", x_max_length=1, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    put(channel, "q", *"abcde")
    wait_size(channel, "dead", 2)
    assert take_all(channel, "dead") == [b"c", b"d"]
