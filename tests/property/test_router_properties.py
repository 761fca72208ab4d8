"""The router against slow but obvious definitions."""

from __future__ import annotations

import fnmatch
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.topology.declarations import Binding, Exchange, Queue, Route
from amqtask.topology.matching import topic_matches
from amqtask.topology.model import Topology
from amqtask.topology.route_checks import covers
from amqtask.topology.router import Router

words = st.sampled_from(["a", "b", "ab", ""])
pattern_words = st.sampled_from(["a", "b", "ab", "", "*", "#"])


def topic(parts: list[str], key: list[str]) -> bool:
    """AMQP's definition, word by word."""
    if not parts:
        return not key
    if parts[0] == "#":
        return topic(parts[1:], key) or (bool(key) and topic(parts, key[1:]))
    return bool(key) and parts[0] in ("*", key[0]) and topic(parts[1:], key[1:])


def split(text: str) -> list[str]:
    return text.split(".") if text else []


@given(st.lists(pattern_words, max_size=6).map(".".join), st.lists(words, max_size=6).map(".".join))
@settings(max_examples=1000)
def test_topic_matching_agrees_with_the_definition(pattern: str, key: str) -> None:
    assert topic_matches(pattern, key) is topic(split(pattern), split(key))


def test_topic_matching_of_many_hashes_takes_no_time() -> None:
    assert not topic_matches(".".join(["#", "a"] * 60), ".".join(["a"] * 59))


task_names = st.text("ab.", min_size=1, max_size=5)
globs = st.text("ab.*?", min_size=1, max_size=5)


@given(st.lists(st.tuples(globs, st.sampled_from(["q1", "q2", "q3"])), max_size=6), task_names)
def test_the_router_takes_the_first_match(routes: list[tuple[str, str]], name: str) -> None:
    topology = Topology.from_code(["q1", "q2", "q3"], [Route(task, queue=queue) for task, queue in routes])
    expected = next((queue for task, queue in routes if fnmatch.fnmatchcase(name, task)), "amqtask")
    assert Router(topology).route(name).queue == expected


ALL_NAMES = ["".join(letters) for size in range(1, 5) for letters in product("ab.", repeat=size)]


@given(globs, globs)
def test_a_pattern_said_to_cover_another_does(first: str, second: str) -> None:
    if covers(first, second):
        for name in ALL_NAMES:
            assert not fnmatch.fnmatchcase(name, second) or fnmatch.fnmatchcase(name, first)


exchange_types = st.sampled_from(["direct", "topic", "fanout"])
keys = st.sampled_from(["", "a", "a.b", "a.*", "#", "b"])


@st.composite
def networks(draw: st.DrawFn) -> Topology:
    """Up to four exchanges, bound to each other in any way, and up to four queues."""
    names = [f"x{number}" for number in range(draw(st.integers(1, 4)))]
    bindings = st.lists(st.builds(Binding, st.sampled_from(names), keys), max_size=3).map(tuple)
    exchanges = [
        Exchange(
            name,
            draw(exchange_types),
            alternate=draw(st.none() | st.sampled_from(names)),
            bindings=draw(bindings),
        )
        for name in names
    ]
    queues = [Queue(f"q{number}", bindings=draw(bindings)) for number in range(draw(st.integers(0, 4)))]
    return Topology.from_code(queues, exchanges=exchanges)


def flooded(topology: Topology, exchange: str, key: str) -> set[str]:
    """Queues reached, by spreading over the bindings until nothing new is found."""

    def fits(source: str, binding: Binding) -> bool:
        kind = topology.exchanges[source].type
        return binding.exchange == source and (
            kind == "fanout"
            or (kind == "direct" and binding.routing_key == key)
            or (kind == "topic" and topic(split(binding.routing_key), split(key)))
        )

    reached = {exchange}
    while True:
        more = set(reached)
        found: set[str] = set()
        for source in reached:
            queues = {q.name for q in topology.queues.values() if any(fits(source, b) for b in q.bindings)}
            onward = {x.name for x in topology.exchanges.values() if any(fits(source, b) for b in x.bindings)}
            alternate = topology.exchanges[source].alternate
            if not queues and not onward and alternate is not None:
                onward = {alternate}
            found |= queues
            more |= onward
        if more == reached:
            return found
        reached = more


@given(networks(), st.sampled_from(["", "a", "a.b", "b", "c"]))
def test_the_simulation_of_bindings_agrees_with_flooding(topology: Topology, key: str) -> None:
    queues = Router(topology).queues_for("x0", key)
    assert len(queues) == len(set(queues))
    assert set(queues) == flooded(topology, "x0", key)
