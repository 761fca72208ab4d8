"""What RabbitMQ has beyond AMQP and its common extensions; much of it came with a certain version."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from amqp_client import QUORUM, Client, Inbox, Server, disconnected, get, put, refused, take, wait_size
from amqp_wire import Wire, header_payload
from pamqp.commands import Basic, Queue
from pika.adapters.blocking_connection import BlockingChannel
from waiting import wait_for

MAX_TTL = 315_360_000_000
"""Ten years in milliseconds, from which on RabbitMQ refuses."""


@pytest.mark.parametrize("argument", ["x-message-ttl", "x-expires"])
def test_ttls_are_bounded(channel: BlockingChannel, argument: str) -> None:
    channel.queue_declare("q", arguments={argument: MAX_TTL})
    with refused(406, f"invalid arg '{argument}'", f"{{value_too_large,{MAX_TTL + 1}}}"):
        channel.queue_declare("q2", arguments={argument: MAX_TTL + 1})


def test_expirations_are_bounded(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "x", expiration=str(MAX_TTL))
    with refused(406, "PRECONDITION_FAILED - invalid expiration", "value_too_large"):
        put(channel, "q", "x", expiration=str(MAX_TTL + 1))


def test_single_messages_of_a_quorum_queue_with_a_single_active_consumer(channel: BlockingChannel) -> None:
    channel.queue_declare("q", durable=True, arguments={**QUORUM, "x-single-active-consumer": True})
    put(channel, "q", "x")
    with refused(405, "RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost", "basic.get operations"):
        get(channel, "q")


def test_single_messages_of_a_classic_queue_with_a_single_active_consumer(
    client: Client, channel: BlockingChannel
) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-single-active-consumer": True})
    Inbox(client.channel(prefetch=1), "q")
    put(channel, "q", "x", "y")
    assert take(channel, "q").body == b"y"


def test_the_oldest_kind_of_classic_queue(channel: BlockingChannel, server: Server) -> None:
    arguments = {"x-queue-version": 1}
    if server.version >= (4, 3):
        with refused(406, "invalid arg 'x-queue-version'"):
            channel.queue_declare("q", durable=True, arguments=arguments)
    else:
        channel.queue_declare("q", durable=True, arguments=arguments)


def test_the_old_name_of_the_leader_locator(connect: Callable[..., Client], server: Server) -> None:
    channel = connect().channel()
    arguments = {"x-queue-master-locator": "client-local"}
    if server.version >= (4, 3):
        with disconnected(541, "INTERNAL_ERROR - Feature `queue_master_locator` is deprecated."):
            channel.queue_declare("q", durable=True, arguments=arguments)
    else:
        channel.queue_declare("q", durable=True, arguments=arguments)


def test_modes_of_classic_queues_are_accepted(channel: BlockingChannel) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-queue-mode": "lazy", "x-queue-version": 2})


# -- consumer timeout and delayed retry, of 4.3 ---------------------------------------------------


def test_a_consumer_that_does_not_settle_in_time_is_cancelled(wire: Wire, server: Server) -> None:
    arguments = {**QUORUM, "x-consumer-timeout": 1000}
    wire.call(Queue.Declare(queue="q", durable=True, arguments=arguments), Queue.DeclareOk)
    wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.call(Basic.Consume(queue="q", consumer_tag="me"), Basic.ConsumeOk)
    wire.content(Basic.Deliver)
    if server.version >= (4, 3):
        assert wire.expect(Basic.Cancel).consumer_tag == "me"
        assert wire.call(Queue.Declare(queue="q", passive=True), Queue.DeclareOk).message_count == 1
    else:  # before, there was only a limit of the whole node, of half an hour
        time.sleep(1.5)
        assert wire.sent_nothing()


def test_a_consumer_may_bring_a_timeout_of_its_own(wire: Wire, server: Server) -> None:
    wire.call(Queue.Declare(queue="q", durable=True, arguments=QUORUM), Queue.DeclareOk)
    for _ in range(3):
        wire.publish(Basic.Publish(routing_key="q"), header_payload(0))
    wire.call(Basic.Consume(queue="q", consumer_tag="me", arguments={"x-consumer-timeout": 1000}), Basic.ConsumeOk)
    tags = [wire.content(Basic.Deliver).method.delivery_tag for _ in range(3)]
    wire.send(Basic.Ack(tags[1]))
    if server.version >= (4, 3):
        assert wire.expect(Basic.Cancel).consumer_tag == "me"
        asked = Queue.Declare(queue="q", passive=True)
        wait_for(lambda: wire.call(asked, Queue.DeclareOk).message_count == 2)
        wire.send(Basic.Ack(tags[0]))  # too late, and harmless
        assert wire.call(asked, Queue.DeclareOk).message_count == 2
    else:
        time.sleep(1.5)
        assert wire.sent_nothing()


@pytest.mark.parametrize(
    ("kind", "argument", "value", "text"),
    [
        ("classic", "x-stream-offset", 1, " of queue type rabbit_classic_queue"),
        ("quorum", "x-stream-offset", 1, " of queue type rabbit_quorum_queue"),
        ("classic", "x-consumer-timeout", 1000, " of queue type rabbit_classic_queue"),
        ("quorum", "x-consumer-timeout", -1, ": {value_negative,-1}"),
        ("quorum", "x-consumer-timeout", "1000", ': "expected integer, got longstr"'),
    ],
)
def test_arguments_of_consumers_are_checked(
    channel: BlockingChannel, server: Server, vhost: str, kind: str, argument: str, value: object, text: str
) -> None:
    channel.queue_declare("q", durable=True, arguments={"x-queue-type": kind})
    if argument == "x-stream-offset" or server.version >= (4, 3):
        with refused(406, f"PRECONDITION_FAILED - invalid arg '{argument}' for queue 'q' in vhost '{vhost}'{text}"):
            channel.basic_consume("q", lambda *_: None, arguments={argument: value})
    else:
        channel.basic_consume("q", lambda *_: None, arguments={argument: value})


def test_the_consumer_timeout_is_not_for_classic_queues(channel: BlockingChannel, server: Server) -> None:
    if server.version >= (4, 3):
        with refused(406, "invalid arg 'x-consumer-timeout'"):
            channel.queue_declare("q", arguments={"x-consumer-timeout": 1000})
    else:
        channel.queue_declare("q", arguments={"x-consumer-timeout": 1000})


def pauses(channel: BlockingChannel, *, reject: bool, kind: str, turns: int = 3) -> list[float]:
    """Seconds from each return of the only message to its next delivery."""
    arguments = {"x-delayed-retry-type": kind, "x-delayed-retry-min": 300, "x-delayed-retry-max": 700}
    channel.queue_declare("q", durable=True, arguments={**QUORUM, **arguments})
    put(channel, "q", "x")
    inbox = Inbox(channel, "q")
    found: list[float] = []
    for turn in range(1, turns + 1):
        tag = inbox.wait(turn)[-1].tag
        begin = time.monotonic()
        (channel.basic_reject if reject else channel.basic_nack)(tag, requeue=True)
        inbox.wait(turn + 1)
        found.append(time.monotonic() - begin)
    channel.queue_delete("q")
    return found


@pytest.mark.parametrize(
    ("kind", "reject", "expected"),
    [
        ("failed", True, [0.3, 0.6, 0.7]),
        ("failed", False, [0, 0, 0]),
        ("returned", True, [0, 0, 0]),
        ("returned", False, [0.3, 0.3, 0.3]),
        ("all", True, [0.3, 0.6, 0.7]),
        ("all", False, [0.3, 0.3, 0.3]),
        ("disabled", True, [0, 0, 0]),
    ],
)
def test_returned_messages_come_back_later(
    channel: BlockingChannel, server: Server, kind: str, reject: bool, expected: list[float]
) -> None:
    if server.version < (4, 3):
        expected = [0, 0, 0]
    least = [math.inf] * len(expected)
    for _ in range(10):  # a busy machine makes some pauses longer, and none shorter
        measured = pauses(channel, reject=reject, kind=kind)
        assert all(wanted - 0.02 <= pause for pause, wanted in zip(measured, expected, strict=True)), measured
        least = list(map(min, least, measured))
        if all(pause < wanted + 0.25 for pause, wanted in zip(least, expected, strict=True)):
            return
    pytest.fail(f"pauses of {least} s at least, not of {expected}")


def test_a_message_that_comes_back_later_lets_others_pass(channel: BlockingChannel, server: Server) -> None:
    arguments = {"x-delayed-retry-type": "all", "x-delayed-retry-min": 300, "x-delayed-retry-max": 300}
    channel.queue_declare("q", durable=True, arguments={**QUORUM, **arguments})
    put(channel, "q", "a", "b")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=True)
    order = [take(channel, "q").body for _ in range(2)]
    assert order == ([b"b", b"a"] if server.version >= (4, 3) else order)


# -- what the dev broker has not ----------------------------------------------------------------


def test_streams(channel: BlockingChannel, server: Server) -> None:
    arguments = {"x-queue-type": "stream"}
    if server.is_dev:
        with disconnected(540, "NOT_IMPLEMENTED"):
            channel.queue_declare("s", durable=True, arguments=arguments)
        return
    channel.queue_declare("s", durable=True, arguments=arguments)
    put(channel, "s", "x")


EXCHANGES: dict[str, dict[str, Any]] = {
    "x-consistent-hash": {"since": (3, 10), "code": 0},
    "x-local-random": {"since": (4, 0)},
    "x-modulus-hash": {"since": (4, 3)},
}


@pytest.mark.parametrize("kind", EXCHANGES)
def test_further_kinds_of_exchanges(channel: BlockingChannel, server: Server, kind: str) -> None:
    if not server.is_dev and server.version >= EXCHANGES[kind]["since"]:
        try:
            channel.exchange_declare("x", kind)
        except Exception as error:
            assert kind == "x-consistent-hash", error  # noqa: PT017 - a plugin, which need not be on
        return
    expectation = refused if server.version >= (4, 0) else disconnected
    with expectation(406 if server.version >= (4, 0) else 503, f"unknown exchange type '{kind}'"):
        channel.exchange_declare("x", kind)


def test_ready_messages_only_count_for_the_length_of_a_quorum_queue(channel: BlockingChannel) -> None:
    channel.queue_declare("q", durable=True, arguments={**QUORUM, "x-max-length": 2})
    put(channel, "q", *"ab")
    held = [take(channel, "q", ack=False) for _ in range(2)]
    put(channel, "q", *"cd")
    wait_size(channel, "q", 2)
    channel.basic_nack(held[-1].tag, multiple=True)
    wait_size(channel, "q", 2)
