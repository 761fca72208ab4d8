"""Bindings between queues and exchanges, and from exchange to exchange; what happens to unroutable messages."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_client import Server, get, put, refused, size, take
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError


def sizes(channel: BlockingChannel, *queues: str) -> tuple[int, ...]:
    return tuple(size(channel, queue) for queue in queues)


def declare(channel: BlockingChannel, *queues: str) -> None:
    for queue in queues:
        channel.queue_declare(queue)


def test_a_message_reaches_a_queue_once_however_many_bindings_match(channel: BlockingChannel) -> None:
    declare(channel, "q")
    for pattern in ("#", "a.*", "a.b", "*.b"):
        channel.queue_bind("q", "amq.topic", pattern)
    put(channel, "a.b", "x", exchange="amq.topic")
    assert size(channel, "q") == 1


def test_a_message_reaches_every_queue_that_matches(channel: BlockingChannel) -> None:
    declare(channel, "a", "b", "c")
    for queue, key in (("a", "k"), ("b", "k"), ("c", "other")):
        channel.queue_bind(queue, "amq.direct", key)
    put(channel, "k", "x", exchange="amq.direct")
    assert sizes(channel, "a", "b", "c") == (1, 1, 0)


def test_binding_twice_is_one_binding(channel: BlockingChannel) -> None:
    declare(channel, "q")
    for _ in range(2):
        channel.queue_bind("q", "amq.direct", "k")
    channel.queue_unbind("q", "amq.direct", "k")
    with pytest.raises(UnroutableError):
        channel.basic_publish("amq.direct", "k", b"x", mandatory=True)


def test_bindings_with_other_arguments_are_other_bindings(channel: BlockingChannel) -> None:
    declare(channel, "q")
    channel.queue_bind("q", "amq.direct", "k", {"n": 1})
    channel.queue_bind("q", "amq.direct", "k", {"n": 2})
    channel.queue_unbind("q", "amq.direct", "k", {"n": 1})
    put(channel, "k", "x", exchange="amq.direct")
    assert size(channel, "q") == 1


def test_unbinding_what_is_not_bound_is_fine(channel: BlockingChannel) -> None:
    declare(channel, "q")
    channel.queue_unbind("q", "amq.direct", "never")


@pytest.mark.parametrize(
    ("queue", "exchange", "missing"),
    [
        ("none", "amq.direct", "queue 'none'"),
        ("q", "none", "exchange 'none'"),
        ("none", "nowhere", "exchange 'nowhere'"),
    ],
)
def test_binding_something_missing_is_refused(
    channel: BlockingChannel, vhost: str, queue: str, exchange: str, missing: str
) -> None:
    declare(channel, "q")
    with refused(404, f"NOT_FOUND - no {missing} in vhost '{vhost}'"):
        channel.queue_bind(queue, exchange, "k")


@pytest.mark.parametrize(("queue", "exchange"), [("none", "amq.direct"), ("q", "none")])
def test_unbinding_something_missing_is_fine(channel: BlockingChannel, queue: str, exchange: str) -> None:
    declare(channel, "q")
    channel.queue_unbind(queue, exchange, "k")
    declare(channel, "q")


def test_an_empty_queue_name_is_the_one_declared_last_on_the_channel(channel: BlockingChannel) -> None:
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.direct", "k")
    put(channel, "k", "x", exchange="amq.direct")
    assert take(channel, "").body == b"x"
    assert size(channel, name) == 0


def test_an_empty_key_with_an_empty_queue_name_is_the_queue_name(channel: BlockingChannel) -> None:
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.direct", "")
    put(channel, name, "x", exchange="amq.direct")
    assert size(channel, name) == 1


def test_an_empty_queue_name_without_a_declaration_is_refused(channel: BlockingChannel) -> None:
    with refused(404, "NOT_FOUND - no previously declared queue"):
        channel.basic_get("")


def test_a_wrong_x_match_is_refused(channel: BlockingChannel) -> None:
    declare(channel, "q")
    with refused(406, "PRECONDITION_FAILED - Invalid x-match field value"):
        channel.queue_bind("q", "amq.match", "", {"x-match": "some"})


# -- exchange to exchange -----------------------------------------------------------------------


def test_messages_pass_through_a_chain_of_exchanges(channel: BlockingChannel) -> None:
    for name, kind in (("one", "topic"), ("two", "direct"), ("three", "fanout")):
        channel.exchange_declare(name, kind)
    declare(channel, "q")
    channel.exchange_bind("two", "one", "a.#")
    channel.exchange_bind("three", "two", "a.b")
    channel.queue_bind("q", "three")
    put(channel, "a.b", "in", exchange="one")
    put(channel, "a.c", "out", exchange="one")
    got = take(channel, "q")
    assert (got.body, got.method.exchange, got.method.routing_key) == (b"in", "one", "a.b")
    assert get(channel, "q") is None


def test_a_circle_of_exchanges_delivers_once(channel: BlockingChannel) -> None:
    channel.exchange_declare("one", "fanout")
    channel.exchange_declare("two", "fanout")
    declare(channel, "q")
    channel.exchange_bind("two", "one")
    channel.exchange_bind("one", "two")
    channel.queue_bind("q", "one")
    channel.queue_bind("q", "two")
    put(channel, "", "x", exchange="one")
    assert size(channel, "q") == 1


def test_an_unbound_exchange_gets_nothing_more(channel: BlockingChannel) -> None:
    channel.exchange_declare("x", "fanout")
    declare(channel, "q")
    channel.queue_bind("q", "x")
    channel.exchange_bind("x", "amq.direct", "k")
    channel.exchange_unbind("x", "amq.direct", "k")
    put(channel, "k", "x", exchange="amq.direct")
    assert size(channel, "q") == 0


@pytest.mark.parametrize(("destination", "source"), [("none", "amq.direct"), ("amq.direct", "none")])
def test_binding_a_missing_exchange_is_refused(channel: BlockingChannel, destination: str, source: str) -> None:
    with refused(404, "NOT_FOUND - no exchange 'none'"):
        channel.exchange_bind(destination, source, "k")


@pytest.mark.parametrize(("destination", "source"), [("", "amq.direct"), ("amq.direct", "")])
def test_the_default_exchange_takes_part_in_no_binding(channel: BlockingChannel, destination: str, source: str) -> None:
    with refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange"):
        channel.exchange_bind(destination, source, "k")


# -- alternate exchange -------------------------------------------------------------------------


def with_alternate(channel: BlockingChannel, kind: str = "direct") -> None:
    channel.exchange_declare("rest", "fanout")
    channel.exchange_declare("main", kind, arguments={"alternate-exchange": "rest"})
    declare(channel, "q", "rest")
    channel.queue_bind("q", "main", "known")
    channel.queue_bind("rest", "rest")


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_what_matches_nothing_goes_to_the_alternate_exchange(channel: BlockingChannel, kind: str) -> None:
    with_alternate(channel, kind)
    put(channel, "known", "a", exchange="main")
    put(channel, "unknown", "b", exchange="main")
    assert sizes(channel, "q", "rest") == (1, 1)
    got = take(channel, "rest")
    assert (got.method.exchange, got.method.routing_key, got.body) == ("main", "unknown", b"b")


def test_a_message_that_the_alternate_exchange_routes_is_not_returned(channel: BlockingChannel) -> None:
    with_alternate(channel)
    channel.basic_publish("main", "unknown", b"x", mandatory=True)
    assert size(channel, "rest") == 1


def test_alternate_exchanges_form_chains(channel: BlockingChannel) -> None:
    with_alternate(channel)
    channel.exchange_declare("first", "direct", arguments={"alternate-exchange": "main"})
    put(channel, "known", "a", exchange="first")
    put(channel, "unknown", "b", exchange="first")
    assert sizes(channel, "q", "rest") == (1, 1)


def test_a_missing_alternate_exchange_loses_the_message(channel: BlockingChannel) -> None:
    channel.exchange_declare("main", "direct", arguments={"alternate-exchange": "not there yet"})
    put(channel, "k", "x", exchange="main")
    with pytest.raises(UnroutableError):
        channel.basic_publish("main", "k", b"x", mandatory=True)


def test_alternate_exchanges_in_a_circle_lose_the_message(channel: BlockingChannel) -> None:
    channel.exchange_declare("a", "direct", arguments={"alternate-exchange": "b"})
    channel.exchange_declare("b", "direct", arguments={"alternate-exchange": "a"})
    put(channel, "k", "x", exchange="a")
    with pytest.raises(UnroutableError):
        channel.basic_publish("a", "k", b"x", mandatory=True)


# -- more than one key --------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_more_keys_may_stand_in_headers(channel: BlockingChannel, header: str) -> None:
    declare(channel, "a", "b", "c")
    put(channel, "a", "x", headers={header: ["b", "c"]})
    assert sizes(channel, "a", "b", "c") == (1, 1, 1)


def test_readers_see_cc_but_not_bcc(channel: BlockingChannel) -> None:
    declare(channel, "a", "b", "c")
    put(channel, "a", "x", headers={"CC": ["b"], "BCC": ["c"], "other": 1})
    for queue in ("a", "b", "c"):
        got = take(channel, queue)
        assert got.headers == {"CC": ["b"], "other": 1}
        assert got.method.routing_key == "a"


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize(("value", "kind"), [("b", "longstr"), (7, "signedint"), ({"b": 1}, "table")])
def test_more_keys_have_to_be_a_list(channel: BlockingChannel, header: str, value: Any, kind: str) -> None:
    declare(channel, "a")
    text = f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{header}",{kind}}}'
    with refused(406, text):
        put(channel, "a", "x", headers={header: value})


def test_more_keys_are_matched_by_the_exchange(channel: BlockingChannel, server: Server) -> None:
    declare(channel, "a", "b")
    channel.queue_bind("a", "amq.topic", "a.*")
    channel.queue_bind("b", "amq.topic", "b.#")
    put(channel, "nowhere", "x", exchange="amq.topic", headers={"CC": ["a.1"], "BCC": ["b.2.3"]})
    assert sizes(channel, "a", "b") == (1, 1)
