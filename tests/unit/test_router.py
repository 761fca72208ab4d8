"""Which way a task takes, and which queues that reaches."""

from __future__ import annotations

import pytest

from amqtask.topology.declarations import Binding, Exchange, Queue, Route
from amqtask.topology.matching import headers_match, topic_matches
from amqtask.topology.model import Topology
from amqtask.topology.router import Router


def router(*routes: Route) -> Router:
    return Router(Topology.from_code(["a", "b"], list(routes)))


def test_the_first_route_that_matches_wins_whatever_its_kind() -> None:
    glob_first = router(Route("shop.*", queue="a"), Route("shop.mail", queue="b"))
    assert glob_first.route("shop.mail").queue == "a"
    exact_first = router(Route("shop.mail", queue="b"), Route("shop.*", queue="a"))
    assert exact_first.route("shop.mail").queue == "b"
    assert exact_first.route("shop.other.deep").queue == "a"
    regex_first = router(Route("/mail/", queue="a"), Route("shop.mail", queue="b"))
    assert regex_first.route("shop.mail").queue == "a"


def test_a_task_without_a_route_goes_to_the_default_queue() -> None:
    routing = router(Route("shop.*", queue="a")).route("blog.post")
    assert (routing.exchange, routing.routing_key, routing.queue, routing.route) == (
        "",
        "amqtask",
        "amqtask",
        None,
    )
    assert routing.why == "no route matches: default queue 'amqtask'"
    assert router().route("x").why == "there are no routes: default queue 'amqtask'"


def test_names_are_compared_case_sensitively_and_globs_with_the_whole_name() -> None:
    one = router(Route("Shop.[mn]ail", queue="a"))
    assert one.route("Shop.mail").queue == "a"
    assert one.route("shop.mail").queue == "amqtask"
    assert one.route("Shop.mailing").queue == "amqtask"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("shop.mail", "the name is 'shop.mail'"),
        ("shop.*", "the name matches the glob 'shop.*'"),
        ("/^shop/", "the name matches the regex '/^shop/'"),
    ],
)
def test_the_decision_says_why(pattern: str, words: str) -> None:
    one = router(Route("other", queue="b"), Route(pattern, queue="a", where="routing.yaml:9:5"))
    assert one.route("shop.mail").why == f"route 2 (routing.yaml:9:5): {words}"


def test_decisions_are_cached_within_bounds() -> None:
    one = router(Route("t.1", queue="a"))
    assert one.route("t.1") is one.route("t.1")
    for number in range(10_050):
        one.route(f"name.{number}")
    assert len(one._cache) <= 10_000
    assert one.route("t.1").queue == "a"


def bound(exchange_type: str, **keys: str) -> Router:
    """An exchange ``x`` of this type with a queue per keyword."""
    queues = [Queue(name, bindings=(Binding("x", key),)) for name, key in keys.items()]
    return Router(Topology.from_code(queues, exchanges=[Exchange("x", exchange_type)]))  # type: ignore[arg-type]


def test_the_default_exchange_reaches_the_queue_of_that_name_only() -> None:
    one = bound("direct", a="k")
    assert one.queues_for("", "a") == ["a"]
    assert one.queues_for("", "k") == []


def test_direct_topic_and_fanout_exchanges() -> None:
    assert bound("direct", a="k", b="k", c="j").queues_for("x", "k") == ["a", "b"]
    assert bound("topic", a="k.#", b="k.*", c="*").queues_for("x", "k") == ["a", "c"]
    assert bound("fanout", a="", b="z").queues_for("x", "anything") == ["a", "b"]
    assert bound("direct", a="k").queues_for("unknown", "k") == []


def test_a_consistent_hash_exchange_reaches_one_queue_always_the_same() -> None:
    one = bound("x-consistent-hash", a="1", b="2", c="heavy")
    found = {key: one.queues_for("x", key) for key in map(str, range(200))}
    assert {len(queues) for queues in found.values()} == {1}
    assert {queues[0] for queues in found.values()} == {"a", "b", "c"}
    assert all(one.queues_for("x", key) == queues for key, queues in found.items())
    assert bound("x-consistent-hash").queues_for("x", "k") == []


def test_builtin_exchanges_need_no_declaration() -> None:
    one = Router(Topology.from_code([Queue("a", bindings=(Binding("amq.topic", "k.#"),))]))
    assert one.queues_for("amq.topic", "k.x") == ["a"]


def test_bindings_between_exchanges_are_followed_round_cycles_too() -> None:
    exchanges = [
        Exchange("first", "topic", bindings=(Binding("second", "#"),)),
        Exchange("second", "topic", bindings=(Binding("first", "k.#"),)),
        Exchange("third", "fanout", bindings=(Binding("second", "k.deep"),)),
    ]
    queues = [Queue("a", bindings=(Binding("second", "k.*"),)), Queue("b", bindings=(Binding("third"),))]
    one = Router(Topology.from_code(queues, exchanges=exchanges))
    assert one.queues_for("first", "k.x") == ["a"]
    assert one.queues_for("first", "k.deep") == ["a", "b"]
    assert one.queues_for("first", "z") == []


def test_an_alternate_exchange_gets_only_what_is_unroutable() -> None:
    exchanges = [
        Exchange("x", "direct", alternate="strays"),
        Exchange("strays", "fanout"),
        Exchange("raw", "direct", arguments={"alternate-exchange": "strays"}),
    ]
    queues = [Queue("a", bindings=(Binding("x", "k"),)), Queue("lost", bindings=(Binding("strays"),))]
    one = Router(Topology.from_code(queues, exchanges=exchanges))
    assert one.queues_for("x", "k") == ["a"]
    assert one.queues_for("x", "z") == ["lost"]
    assert one.queues_for("raw", "z") == ["lost"]


@pytest.mark.parametrize(
    ("arguments", "headers", "fits"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1}, {"a": 2}, False),
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"a": None}, {"a": 5}, True),
        ({"a": None}, {}, False),
    ],
)
def test_headers_exchanges(arguments: dict[str, object], headers: dict[str, object], fits: bool) -> None:
    assert headers_match(arguments, headers) is fits
    queues = [Queue("a", bindings=(Binding("x", "", arguments),))]
    one = Router(Topology.from_code(queues, exchanges=[Exchange("x", "headers")]))
    assert one.queues_for("x", "", headers) == (["a"] if fits else [])


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("#", "", True),
        ("*", "", False),
        ("a.#", "a", True),
        ("a.#.b", "a.b", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.*.b", "a..b", True),
        ("a.*", "a.", True),
        ("#.#", "a.b.c", True),
        ("*.#", "", False),
        ("a.b", "a.b.c", False),
        ("", "", True),
        ("", "a", False),
        ("a*", "ab", False),
    ],
)
def test_topic_patterns(pattern: str, key: str, fits: bool) -> None:
    assert topic_matches(pattern, key) is fits
