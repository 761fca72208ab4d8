"""Routing of the dev broker: kinds of exchanges, bindings between exchanges, alternates and copies."""

from __future__ import annotations

import random

import pytest
from engine_bench import Bench, content_header, properties

from amqtask.testing.devbroker.engine.errors import ChannelFault, ConnectionFault
from amqtask.testing.devbroker.engine.message import Message


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


def bind(bench, kind, *patterns, arguments=None):
    """An exchange ``x`` and a queue per pattern, named like it."""
    bench.vhost.exchange_declare("x", kind)
    for number, pattern in enumerate(patterns):
        name = f"{number}:{pattern}"
        bench.queue(name)
        bench.vhost.queue_bind(name, "x", pattern, (arguments or {}).get(pattern), bench.me)


def reached(bench, key="", **fields):
    routed = bench.publish(key, exchange="x", **fields)
    names = [name.partition(":")[2] for name in bench.vhost.queues if bench.bodies(name)]
    assert routed.queues == len(names)
    return names


def test_a_direct_exchange_compares_keys(bench):
    bind(bench, "direct", "a", "b", "a")
    assert reached(bench, "a") == ["a", "a"]
    assert reached(bench, "c") == []


def test_a_fanout_exchange_reaches_all(bench):
    bind(bench, "fanout", "a", "b")
    assert reached(bench, "whatever") == ["a", "b"]


PATTERNS = ("#", "*", "a.#", "#.a", "a.*.c", "a.#.c", "#.#", "*.#", "a", "", "a.b.c", "*.*.*", "#.b.#", "a.#.#.c")


# As RabbitMQ 4.3 answered, pattern by pattern.
@pytest.mark.parametrize(
    ("key", "patterns"),
    [
        ("", "#,#.#,"),
        ("a", "#,*,a.#,#.a,#.#,*.#,a"),
        ("a.b", "#,a.#,#.#,*.#,#.b.#"),
        ("a.b.c", "#,a.#,a.*.c,a.#.c,#.#,*.#,a.b.c,*.*.*,#.b.#,a.#.#.c"),
        ("a.c", "#,a.#,a.#.c,#.#,*.#,a.#.#.c"),
        ("b.a", "#,#.a,#.#,*.#,#.b.#"),
        ("a.b.b.c", "#,a.#,a.#.c,#.#,*.#,#.b.#,a.#.#.c"),
        ("a.", "#,a.#,#.#,*.#"),
        ("..", "#,#.#,*.#,*.*.*"),
        (".a", "#,#.a,#.#,*.#"),
        ("#", "#,*,#.#,*.#"),
        ("*", "#,*,#.#,*.#"),
        ("a.#.c", "#,a.#,a.*.c,a.#.c,#.#,*.#,*.*.*,a.#.#.c"),
        ("x.y.z", "#,#.#,*.#,*.*.*"),
    ],
)
def test_a_topic_exchange_matches_words(bench, key, patterns):
    bind(bench, "topic", *PATTERNS)
    assert reached(bench, key) == patterns.split(",")


def brute_force(pattern, key):
    match (pattern, key):
        case ([], _):
            return not key
        case (["#", *rest], _):
            return any(brute_force(rest, key[skip:]) for skip in range(len(key) + 1))
        case ([first, *rest], [word, *words]):
            return first in {"*", word} and brute_force(rest, words)
    return False


def test_a_topic_exchange_agrees_with_trying_everything(bench):
    chance = random.Random(3)
    patterns = sorted({".".join(chance.choices("ab*#", k=chance.randint(1, 5))) for _ in range(200)})
    bind(bench, "topic", *patterns)
    for _ in range(100):
        words = chance.choices("abc", k=chance.randint(1, 6))
        expected = [pattern for pattern in patterns if brute_force(pattern.split("."), words)]
        assert reached(bench, ".".join(words)) == expected


def test_patterns_of_many_wildcards_do_not_take_for_ever(bench):
    bind(bench, "topic", ".".join(["#", "a"] * 12))
    assert len(reached(bench, ".".join("ba" * 60))) == 1


def test_a_topic_binding_that_is_taken_back_matches_no_more(bench, vhost):
    bind(bench, "topic", "a.*", "a.*.#")
    vhost.queue_unbind("0:a.*", "x", "a.*", None, bench.me)
    assert reached(bench, "a.b") == ["a.*.#"]


HEADER_BINDINGS = {
    "all": {"x-match": "all", "a": 1, "b": "x"},
    "any": {"x-match": "any", "a": 1, "b": "x"},
    "present": {"a": None},
    "all x": {"x-match": "all-with-x", "x-h": 1},
    "any x": {"x-match": "any-with-x", "x-h": 1, "a": 1},
    "all, x ignored": {"x-match": "all", "x-h": 1},
    "any, x ignored": {"x-match": "any", "x-h": 1},
    "nothing": {},
    "any of nothing": {"x-match": "any"},
}


# As RabbitMQ 4.3 answered.
@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ({"a": 1}, "any;present;any x;all, x ignored;nothing"),
        ({"a": 1, "b": "x"}, "all;any;present;any x;all, x ignored;nothing"),
        ({"b": "x"}, "any;all, x ignored;nothing"),
        ({"a": True}, "present;all, x ignored;nothing"),
        ({"a": "1"}, "present;all, x ignored;nothing"),
        ({"x-h": 1}, "all x;any x;all, x ignored;nothing"),
        (None, "all, x ignored;nothing"),
    ],
)
def test_a_headers_exchange_compares_headers(bench, headers, names):
    bind(bench, "headers", *HEADER_BINDINGS, arguments=HEADER_BINDINGS)
    assert reached(bench, headers=headers) == names.split(";")


def test_a_bad_x_match_is_refused(bench, vhost):
    bench.queue("q")
    assert refused(vhost.queue_bind, "q", "amq.headers", "", {"x-match": "bad"}, bench.me) == (
        406,
        'PRECONDITION_FAILED - Invalid x-match field value <<"bad">>; expected all, any, all-with-x, or any-with-x',
    )
    assert not vhost.exchanges["amq.headers"].bound


def test_bindings_that_differ_only_in_arguments_are_two(bench, vhost):
    bind(bench, "headers")
    bench.queue("0:q")
    for value in (1, 2):
        vhost.queue_bind("0:q", "x", "", {"a": value}, bench.me)
    vhost.queue_unbind("0:q", "x", "", {"a": 1}, bench.me)
    assert reached(bench, headers={"a": 1}) == []
    assert reached(bench, headers={"a": 2}) == ["q"]


def test_a_message_reaches_a_queue_once_however_it_is_bound(bench, vhost):
    bind(bench, "topic", "a.#")
    vhost.queue_bind("0:a.#", "x", "a.*", None, bench.me)
    vhost.exchange_declare("y", "fanout")
    vhost.exchange_bind("y", "x", "#")
    vhost.queue_bind("0:a.#", "y", "", None, bench.me)
    assert reached(bench, "a.b") == ["a.#"]


def test_exchanges_bound_in_a_circle_end(bench, vhost):
    for name in "abc":
        vhost.exchange_declare(name, "fanout")
    for source, destination in ("ab", "bc", "ca"):
        vhost.exchange_bind(destination, source, "")
    bench.queue("q")
    vhost.queue_bind("q", "c", "", None, bench.me)
    assert bench.publish("", exchange="a").queues == 1
    vhost.exchange_unbind("b", "a", "")
    assert bench.publish("", exchange="a").queues == 0


def test_an_alternate_exchange_gets_only_what_has_no_destination(bench, vhost):
    vhost.exchange_declare("other", "fanout")
    vhost.exchange_declare("x", "direct", arguments={"alternate-exchange": "other"})
    for name, exchange in (("bound", "x"), ("rest", "other")):
        bench.queue(name)
        vhost.queue_bind(name, exchange, "k", None, bench.me)
    bench.publish("k", "1", exchange="x")
    bench.publish("else", "2", exchange="x")
    assert (bench.bodies("bound"), bench.bodies("rest")) == (["1"], ["2"])
    vhost.exchange_declare("dead end", "direct")
    vhost.exchange_bind("dead end", "x", "else")
    assert bench.publish("else", exchange="x").queues == 0


def test_what_is_known_of_a_route_is_forgotten_when_bindings_change(bench, vhost):
    bind(bench, "direct", "k")
    assert reached(bench, "k") == ["k"]
    bench.queue("1:more")
    vhost.queue_bind("1:more", "x", "k", None, bench.me)
    assert reached(bench, "k") == ["k", "more"]
    vhost.queue_delete("0:k", bench.me)
    assert reached(bench, "k") == ["more"]


def test_thousands_of_keys_do_not_stay_in_memory(bench, vhost):
    bind(bench, "fanout")
    for number in range(10_000):
        bench.publish(str(number), exchange="x")
    assert len(vhost._router._known["x"]) <= 4096


def test_copies_reach_further_queues_and_blind_ones_are_hidden(bench):
    for name in "abc":
        bench.queue(name)
    routed = bench.publish("a", headers={"CC": ["b", "missing"], "BCC": ["c", "a"], "kept": 1})
    assert routed.queues == 3
    for name in "abc":
        message = bench.take(name)
        assert message.routing_key == "a"
        assert properties(message).headers == {"CC": ["b", "missing"], "kept": 1}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"expiration": "abc"}, "invalid expiration 'abc': no_integer"),
        ({"expiration": "-1"}, "invalid expiration '-1': {value_negative,-1}"),
        ({"expiration": "10x"}, "invalid expiration '10x': {leftover_string,\"x\"}"),
        ({"expiration": "1.5"}, "invalid expiration '1.5': {leftover_string,\".5\"}"),
        ({"expiration": " 5"}, "invalid expiration ' 5': no_integer"),
        ({"headers": {"CC": "a"}}, 'invalid message: {unacceptable_type_in_header,"CC",longstr}'),
        ({"headers": {"BCC": 5}}, 'invalid message: {unacceptable_type_in_header,"BCC",signedint}'),
    ],
)
def test_bad_properties_are_refused_in_rabbitmqs_words(bench, fields, text):
    bench.queue("q")
    assert refused(bench.publish, "q", **fields) == (406, f"PRECONDITION_FAILED - {text}")


@pytest.mark.parametrize("cut", [2, 5, 9])
def test_properties_that_end_too_early_close_the_connection(bench, cut):
    header = content_header(headers={"CC": ["a"]}, expiration="100")[:-cut]
    assert refused(bench.vhost.publish, Message("", "q", header, b""), kind=ConnectionFault)[0] == 502
