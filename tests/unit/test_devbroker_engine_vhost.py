"""Vhosts of the dev broker: declaring, binding, routing and what is refused, without the protocol."""

from __future__ import annotations

import re

import pytest
from engine_bench import Bench, Subscriber

from amqtask.testing.devbroker.engine.errors import ChannelFault, ConnectionFault


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def vhost(bench):
    return bench.vhost


def refused(call, *args, kind=ChannelFault, **kwargs):
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert str(caught.value) == caught.value.text
    return caught.value.code, caught.value.text


# -- queues


def test_declaring_twice_gives_the_same_queue(bench):
    first = bench.queue("q", message_ttl=5)
    assert bench.queue("q", message_ttl=5) is first
    assert bench.declare("q", passive=True) is first


def test_a_queue_without_a_name_gets_one(bench):
    first, second = bench.declare(""), bench.declare("", exclusive=True)
    assert re.fullmatch(r"amq\.gen-[\w-]{22}", first.name)
    assert first.name != second.name
    assert bench.declare(first.name) is first


@pytest.mark.parametrize(
    ("declared", "again", "text"),
    [
        ({}, {"message_ttl": 5}, "'x-message-ttl' -> received the value '5' of type 'signedint' but current is none"),
        ({"message_ttl": 5}, {}, "'x-message-ttl' -> received none but current is the value '5' of type 'signedint'"),
        ({"message_ttl": 5}, {"message_ttl": 6}, "'x-message-ttl' -> received '6' but current is '5'"),
        (
            {},
            {"message_ttl": 5_000_000_000},
            "'x-message-ttl' -> received the value '5000000000' of type 'long' but current is none",
        ),
        (
            {},
            {"dead_letter_exchange": "x"},
            "'x-dead-letter-exchange' -> received the value 'x' of type 'longstr' but current is none",
        ),
        (
            {},
            {"single_active_consumer": True},
            "'x-single-active-consumer' -> received the value 'true' of type 'bool' but current is none",
        ),
        ({}, {"quorum": True}, "'x-queue-type' -> received 'quorum' but current is 'classic'"),
        ({"quorum": True}, {}, "'x-queue-type' -> received 'classic' but current is 'quorum'"),
        ({}, {"durable": False}, "'durable' -> received 'false' but current is 'true'"),
    ],
)
def test_declaring_something_else_tells_the_difference(bench, declared, again, text):
    bench.queue("q", **declared)
    text = text.replace("->", "for queue 'q' in vhost '/':")
    assert refused(bench.queue, "q", **again) == (406, f"PRECONDITION_FAILED - inequivalent arg {text}")


def test_arguments_that_rabbitmq_does_not_know_may_differ(bench):
    first = bench.queue("q", foo=1)
    assert bench.queue("q", foo=2) is first
    assert bench.queue("q", **{"x-queue-type": "classic"}) is first


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-message-ttl": -1}, "x-message-ttl: {value_negative,-1}"),
        ({"x-message-ttl": "a"}, 'x-message-ttl: "expected integer, got longstr"'),
        ({"x-message-ttl": True}, 'x-message-ttl: "expected integer, got bool"'),
        ({"x-message-ttl": 2**40}, "x-message-ttl: {value_too_large,1099511627776}"),
        ({"x-expires": 0}, "x-expires: {value_zero,0}"),
        ({"x-dead-letter-routing-key": "k"}, "x-dead-letter-routing-key: routing_key_but_no_dlx_defined"),
        ({"x-max-priority": 256}, "x-max-priority: {max_value_exceeded,256}"),
        ({"x-overflow": "bad"}, "x-overflow: invalid_overflow"),
        ({"x-overflow": 5}, "x-overflow: {unacceptable_type,signedint}"),
        ({"x-queue-type": "bad"}, "x-queue-type: \"unsupported queue type 'bad'\""),
        ({"x-single-active-consumer": "yes"}, "x-single-active-consumer: {unacceptable_type,longstr}"),
        ({"x-queue-version": 1}, "x-queue-version: \"unsupported queue version '1'\""),
        ({"x-queue-type": "quorum", "x-dead-letter-strategy": "bad"}, "x-dead-letter-strategy: invalid_dlx_strategy"),
    ],
)
def test_bad_arguments_are_refused_in_rabbitmqs_words(bench, arguments, text):
    name, _, reason = text.partition(": ")
    code, refusal = refused(bench.declare, "q", durable=True, arguments=arguments)
    assert (code, refusal) == (406, f"PRECONDITION_FAILED - invalid arg '{name}' for queue 'q' in vhost '/': {reason}")
    assert "q" not in bench.vhost.queues


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-delivery-limit": 3}, "arg 'x-delivery-limit' for QUEUE of queue type rabbit_classic_queue"),
        (
            {"x-queue-type": "quorum", "x-max-priority": 5},
            "arg 'x-max-priority' for QUEUE of queue type rabbit_quorum_queue",
        ),
        ({"x-dead-letter-exchange": 5}, "type 'signedint' for arg 'x-dead-letter-exchange' in QUEUE"),
    ],
)
def test_arguments_of_other_queue_types_and_odd_names_are_refused(bench, arguments, text):
    code, refusal = refused(bench.declare, "q", durable=True, arguments=arguments)
    assert (code, refusal) == (406, "PRECONDITION_FAILED - invalid " + text.replace("QUEUE", "queue 'q' in vhost '/'"))


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"durable": False}, "non-durable"),
        ({"exclusive": True}, "exclusive-owner"),
        ({"auto_delete": True}, "auto-delete"),
    ],
)
def test_quorum_queues_are_durable_and_shared(bench, flags, word):
    code, text = refused(bench.declare, "q", **{"durable": True, **flags}, arguments={"x-queue-type": "quorum"})
    assert (code, text) == (406, f"PRECONDITION_FAILED - invalid property '{word}' for queue 'q' in vhost '/'")


def test_streams_are_not_implemented(bench):
    code, text = refused(bench.declare, "q", arguments={"x-queue-type": "stream"}, kind=ConnectionFault)
    assert code == 540
    assert "dev broker" in text


def test_names_that_begin_with_amq_are_reserved(bench, vhost):
    assert refused(bench.declare, "amq.q") == (
        403,
        "ACCESS_REFUSED - queue name 'amq.q' contains reserved prefix 'amq.*'",
    )
    assert refused(vhost.exchange_declare, "amq.x", "direct") == (
        403,
        "ACCESS_REFUSED - exchange name 'amq.x' contains reserved prefix 'amq.*'",
    )


def test_what_is_missing_is_not_found(bench, vhost):
    missing = (404, "NOT_FOUND - no queue 'q' in vhost '/'")
    assert refused(bench.declare, "q", passive=True) == missing
    assert refused(vhost.queue_purge, "q", bench.me) == missing
    assert refused(vhost.queue_bind, "q", "amq.direct", "", None, bench.me) == missing
    assert vhost.queue_delete("q", bench.me) == 0
    bench.queue("q")
    missing = (404, "NOT_FOUND - no exchange 'x' in vhost '/'")
    assert refused(vhost.queue_bind, "q", "x", "", None, bench.me) == missing
    assert refused(vhost.exchange_declare, "x", "direct", passive=True) == missing
    assert refused(vhost.exchange_bind, "x", "amq.direct", "", None) == missing
    assert refused(bench.publish, "k", exchange="x") == missing
    vhost.exchange_delete("x")


def test_an_exclusive_queue_is_locked_for_others_and_goes_with_its_owner(bench, vhost):
    bench.declare("q", exclusive=True)
    other = object()
    locked = refused(vhost.queue_declare, "q", other, exclusive=True)
    assert locked[0] == 405
    assert "cannot obtain exclusive access to locked queue 'q' in vhost '/'" in locked[1]
    assert refused(vhost.queue, "q", other) == locked
    assert refused(vhost.queue_delete, "q", other) == locked
    assert refused(vhost.queue_bind, "q", "amq.direct", "", None, other) == locked
    assert refused(bench.declare, "q") == locked
    assert bench.publish("q").queues == 1
    vhost.owner_gone(other)
    assert "q" in vhost.queues
    vhost.owner_gone(bench.me)
    assert "q" not in vhost.queues
    assert bench.memory.used == 0


def test_a_shared_queue_cannot_be_declared_exclusive(bench):
    bench.queue("q")
    assert refused(bench.declare, "q", durable=True, exclusive=True)[0] == 405


def test_deleting_may_ask_for_an_unused_or_empty_queue(bench, vhost):
    queue = bench.queue("q")
    bench.publish("q")
    assert refused(vhost.queue_delete, "q", bench.me, if_empty=True) == (
        406,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
    )
    Subscriber(queue)
    assert refused(vhost.queue_delete, "q", bench.me, if_unused=True) == (
        406,
        "PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
    )
    bench.queue("quorum", quorum=True)
    assert refused(vhost.queue_delete, "quorum", bench.me, if_unused=True, kind=ConnectionFault)[0] == 540


# -- exchanges


def test_an_exchange_that_differs_is_refused(vhost):
    vhost.exchange_declare("x", "direct", durable=True, arguments={"alternate-exchange": "a"})
    start = "PRECONDITION_FAILED - inequivalent arg"
    same = {"durable": True, "arguments": {"alternate-exchange": "a"}}
    vhost.exchange_declare("x", "direct", **same)
    assert refused(vhost.exchange_declare, "x", "fanout", **same)[1] == (
        f"{start} 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"
    )
    assert refused(vhost.exchange_declare, "x", "direct", **{**same, "internal": True})[1] == (
        f"{start} 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"
    )
    assert refused(vhost.exchange_declare, "x", "direct", durable=True)[1] == (
        f"{start} 'alternate-exchange' for exchange 'x' in vhost '/': "
        "received none but current is the value 'a' of type 'longstr'"
    )


def test_unknown_types_of_exchanges_are_refused(vhost):
    assert refused(vhost.exchange_declare, "x", "x-odd") == (
        406,
        "PRECONDITION_FAILED - unknown exchange type 'x-odd'",
    )


def test_the_default_exchange_is_not_to_be_touched(bench, vhost):
    bench.queue("q")
    expected = (403, "ACCESS_REFUSED - operation not permitted on the default exchange")
    assert refused(vhost.exchange_declare, "", "direct") == expected
    assert refused(vhost.exchange_delete, "") == expected
    assert refused(vhost.queue_bind, "q", "", "k", None, bench.me) == expected
    assert refused(vhost.queue_unbind, "q", "", "k", None, bench.me) == expected
    assert refused(vhost.exchange_bind, "amq.direct", "", "k", None) == expected


def test_predeclared_exchanges_stay(vhost):
    vhost.exchange_declare("amq.direct", "direct", durable=True)
    code, text = refused(vhost.exchange_delete, "amq.direct")
    assert (code, text) == (403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed")


def test_an_exchange_in_use_is_not_deleted_if_it_must_be_unused(bench, vhost):
    bench.queue("q")
    vhost.exchange_declare("x", "direct")
    vhost.queue_bind("q", "x", "k", None, bench.me)
    code, text = refused(vhost.exchange_delete, "x", if_unused=True)
    assert (code, text) == (406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use")
    vhost.exchange_delete("x")
    assert refused(bench.publish, "k", exchange="x")[0] == 404


@pytest.mark.parametrize("ending", ["unbind", "queue", "exchange"])
def test_an_auto_delete_exchange_goes_with_its_last_binding(bench, vhost, ending):
    bench.queue("q")
    vhost.exchange_declare("x", "fanout", auto_delete=True)
    vhost.exchange_declare("inner", "fanout")
    if ending == "exchange":
        vhost.exchange_bind("inner", "x", "")
        vhost.exchange_delete("inner")
    else:
        vhost.queue_bind("q", "x", "", None, bench.me)
        if ending == "queue":
            vhost.queue_delete("q", bench.me)
        else:
            vhost.queue_unbind("q", "x", "", None, bench.me)
    assert "x" not in vhost.exchanges


def test_unbinding_what_is_not_bound_is_no_error(bench, vhost):
    bench.queue("q")
    vhost.queue_unbind("q", "amq.direct", "k", None, bench.me)
    vhost.queue_unbind("q", "gone", "k", None, bench.me)
    vhost.queue_unbind("gone", "amq.direct", "k", None, bench.me)
    vhost.exchange_unbind("gone", "amq.direct", "k", None)


def test_internal_exchanges_take_no_messages_from_clients(bench, vhost):
    bench.queue("q")
    vhost.exchange_declare("in", "fanout", internal=True)
    vhost.exchange_declare("out", "fanout")
    vhost.exchange_bind("in", "out", "")
    vhost.queue_bind("q", "in", "", None, bench.me)
    assert refused(bench.publish, "k", exchange="in") == (
        403,
        "ACCESS_REFUSED - cannot publish to internal exchange 'in' in vhost '/'",
    )
    assert bench.publish("k", exchange="out").queues == 1


def test_nothing_is_left_of_a_closed_vhost(bench, vhost):
    consumer = Subscriber(bench.queue("q", expires=1000, message_ttl=1000), prefetch=1)
    bench.publish("q", *"abc")
    vhost.close()
    assert consumer.is_cancelled
    assert bench.memory.used == 0
    assert bench.scheduler.pause() is None
    vhost.owner_gone(bench.me)
    consumer.leave()
