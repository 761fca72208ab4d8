"""Declaring queues: what is the same, what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_client import QUORUM, Client, Server, put, refused, size
from pika.adapters.blocking_connection import BlockingChannel


def test_a_declaration_answers_with_name_and_counts(client: Client, channel: BlockingChannel) -> None:
    ok = channel.queue_declare("q").method
    assert (ok.queue, ok.message_count, ok.consumer_count) == ("q", 0, 0)
    put(channel, "q", "a", "b")
    client.channel(prefetch=1).basic_consume("q", lambda *_: None)
    ok = channel.queue_declare("q").method
    assert (ok.message_count, ok.consumer_count) == (1, 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"durable": True},
        {"auto_delete": True},
        {"exclusive": True},
        {"durable": True, "arguments": {"x-message-ttl": 1000, "x-max-length": 5, "x-max-priority": 3}},
        {"durable": True, "arguments": {**QUORUM, "x-delivery-limit": 3}},
    ],
)
def test_declaring_again_alike_changes_nothing(channel: BlockingChannel, options: dict[str, Any]) -> None:
    for _ in range(2):
        channel.queue_declare("q", **options)


@pytest.mark.parametrize(
    ("first", "second", "argument", "received", "current"),
    [
        ({}, {"durable": True}, "durable", "'true'", "'false'"),
        ({"durable": True}, {}, "durable", "'false'", "'true'"),
        ({}, {"auto_delete": True}, "auto_delete", "'true'", "'false'"),
        ({}, {"arguments": {"x-expires": 90_000}}, "x-expires", "the value '90000' of type 'signedint'", "none"),
        (
            {"arguments": {"x-message-ttl": 500}},
            {"arguments": {"x-message-ttl": 501}},
            "x-message-ttl",
            "'501'",
            "'500'",
        ),
        (
            {"arguments": {"x-message-ttl": 500}},
            {},
            "x-message-ttl",
            "none",
            "the value '500' of type 'signedint'",
        ),
        (
            {},
            {"arguments": {"x-dead-letter-exchange": "x"}},
            "x-dead-letter-exchange",
            "the value 'x' of type 'longstr'",
            "none",
        ),
        (
            {"durable": True, "arguments": QUORUM},
            {"durable": True, "arguments": {"x-queue-type": "classic"}},
            "x-queue-type",
            "'classic'",
            "'quorum'",
        ),
        (
            {"arguments": {"x-max-length": 5}},
            {"arguments": {"x-max-length": 6}},
            "x-max-length",
            "'6'",
            "'5'",
        ),
    ],
)
def test_declaring_again_otherwise_is_refused(
    channel: BlockingChannel,
    vhost: str,
    first: dict[str, Any],
    second: dict[str, Any],
    argument: str,
    received: str,
    current: str,
) -> None:
    channel.queue_declare("q", **first)
    text = (
        f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '{vhost}': "
        f"received {received} but current is {current}"
    )
    with refused(406, text):
        channel.queue_declare("q", **second)


def test_a_queue_cannot_become_a_quorum_queue(channel: BlockingChannel, server: Server) -> None:
    channel.queue_declare("q", durable=True)
    old = "the value 'quorum' of type 'longstr' but current is none"
    new = "'quorum' but current is 'classic'"
    with refused(406, "inequivalent arg 'x-queue-type' for queue 'q'", new if server.version >= (4, 0) else old):
        channel.queue_declare("q", durable=True, arguments=QUORUM)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-message-ttl": -1},
        {"x-message-ttl": "500"},
        {"x-expires": 0},
        {"x-expires": "1000"},
        {"x-max-length": -1},
        {"x-max-length": "5"},
        {"x-max-length-bytes": -1},
        {"x-max-priority": 256},
        {"x-max-priority": -1},
        {"x-overflow": "drop-tail"},
        {"x-dead-letter-exchange": 5},
        {"x-dead-letter-routing-key": "k"},
        {"x-queue-type": "unheard-of"},
        {"x-single-active-consumer": "yes"},
        {"x-delivery-limit": 3, "x-queue-type": "classic"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(channel: BlockingChannel, arguments: dict[str, Any]) -> None:
    with refused(406, "PRECONDITION_FAILED - "):
        channel.queue_declare("q", durable=True, arguments=arguments)


def test_the_refusal_of_an_argument_names_it(channel: BlockingChannel, vhost: str) -> None:
    with refused(406, f"invalid arg 'x-message-ttl' for queue 'q' in vhost '{vhost}'", "-1"):
        channel.queue_declare("q", arguments={"x-message-ttl": -1})


@pytest.mark.parametrize(
    "options",
    [
        {"durable": False},
        {"durable": True, "exclusive": True},
        {"durable": True, "auto_delete": True},
        {"durable": True, "arguments": {"x-max-priority": 5}},
    ],
)
def test_quorum_queues_refuse_what_they_cannot_do(channel: BlockingChannel, options: dict[str, Any]) -> None:
    arguments = {**QUORUM, **options.pop("arguments", {})}
    with refused(406, "PRECONDITION_FAILED - "):
        channel.queue_declare("q", arguments=arguments, **options)


def test_unknown_arguments_are_accepted_and_compared_no_more(channel: BlockingChannel) -> None:
    channel.queue_declare("q", arguments={"x-colour": "red"})
    channel.queue_declare("q", arguments={"x-colour": "blue"})


def test_integers_of_any_width_are_the_same_argument(channel: BlockingChannel) -> None:
    channel.queue_declare("q", arguments={"x-max-length": 5})
    channel.queue_declare("q", arguments={"x-max-length": 5, "x-unknown": 1 << 40})


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_kind_that_is_the_default_may_be_named(channel: BlockingChannel, kind: str, server: Server) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-queue-type": kind})
    if kind == "classic":
        channel.queue_declare("q", durable=True)
    else:
        with refused(406, "inequivalent arg 'x-queue-type'"):
            channel.queue_declare("q", durable=True)


def test_a_missing_queue_is_not_found(channel: BlockingChannel, vhost: str) -> None:
    with refused(404, f"NOT_FOUND - no queue 'missing' in vhost '{vhost}'"):
        channel.queue_declare("missing", passive=True)


def test_a_passive_declaration_compares_nothing(channel: BlockingChannel) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-max-length": 5})
    assert size(channel, "q") == 0
    channel.queue_declare("q", passive=True, durable=False, arguments={"x-max-length": 6})


def test_names_of_the_broker_are_reserved(channel: BlockingChannel) -> None:
    with refused(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"):
        channel.queue_declare("amq.mine")


def test_a_passive_declaration_may_use_a_reserved_name(channel: BlockingChannel) -> None:
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_declare(name, passive=True)


def test_a_nameless_queue_gets_a_name_of_its_own(channel: BlockingChannel) -> None:
    names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("amq.gen-") and len(name) == len("amq.gen-") + 22 for name in names)


def test_names_may_be_as_long_as_amqp_allows_and_of_any_script(channel: BlockingChannel) -> None:
    for name in ("q" * 255, "очередь-日本", "with space and 'quote'"):
        assert channel.queue_declare(name).method.queue == name
        put(channel, name, "x")
        assert size(channel, name) == 1
