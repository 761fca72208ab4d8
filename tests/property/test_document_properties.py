"""routing.yaml: any text gives a topology or a DocumentError; the reader and the JSON Schema agree."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amqtask.errors import DocumentError
from amqtask.topology.checks import warnings
from amqtask.topology.declarations import Version
from amqtask.topology.document import loads
from amqtask.topology.kinds import Choice, Duration, Flag, Fraction, Integer, Number, Text
from amqtask.topology.layout import topology_steps
from amqtask.topology.nodes import Report, parse
from amqtask.topology.periodic import Degrees, Values
from amqtask.topology.records import Arguments, Either, ListOf, MapOf, Record
from amqtask.topology.schema import DOCUMENT, json_schema

if TYPE_CHECKING:
    from collections.abc import Callable

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
PLACE = re.compile(r"^r\.yaml(:\d+:\d+)?$")

yaml_words = ["queues:", "routes:", "emails", ": ", "- ", "  ", "&a ", "*a", "<<: ", "!t ", "no", "1:30"]
yaml_words += ["? ", "---", "task: x"]
yaml_pieces = st.sampled_from("{}[],>#~%|'\"\n\t\x00é") | st.sampled_from(yaml_words)


def load_or_refuse(text: str | bytes) -> None:
    """Load; a refusal must say where."""
    refusals = []
    try:
        topology = loads(text, "r.yaml")
    except DocumentError as error:
        refusals = [problem for problem in error.problems if PLACE.match(problem.where) and problem.text]
        complete = len(refusals) == len(error.problems) > 0
    else:
        warnings(topology, Version(3, 10))
        topology_steps(topology, Version(3, 10))
        complete = True
    assert complete, refusals


@given(st.text() | st.lists(yaml_pieces, max_size=25).map("".join))
@settings(max_examples=500)
def test_any_text_is_a_topology_or_a_document_error(text: str) -> None:
    load_or_refuse(text)


@given(st.binary())
def test_any_bytes_are_a_topology_or_a_document_error(data: bytes) -> None:
    load_or_refuse(data)


names = st.sampled_from(["emails", "files.small", "x", "tasks"])
junk: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, -1, 10**12, 0.5, "", "auto", "10%", "1m", "quorum", [], {}, ["x"], {"x": 1}, [[]]]
)


MAKERS: dict[type, Callable[[Any], st.SearchStrategy[Any]]] = {
    Choice: lambda kind: st.sampled_from(kind.values),
    Integer: lambda kind: st.integers(kind.least, min(kind.most, 10**6)),
    Number: lambda kind: st.sampled_from([1, 1.5, 3]),
    Flag: lambda kind: st.booleans(),
    Duration: lambda kind: st.sampled_from(["250ms", "1h30m", "14d", "1d 2h", 5, 0.5]),
    Fraction: lambda kind: st.sampled_from(["10%", "12.5%", 0, 0.25, 1]),
    Text: lambda kind: names,
    ListOf: lambda kind: st.lists(values(kind.kind), min_size=kind.least, max_size=2),
    MapOf: lambda kind: st.dictionaries(names, values(kind.kind), min_size=kind.least, max_size=2),
    Either: lambda kind: st.one_of([values(one) for one in kind.kinds]),
    Record: lambda kind: records(kind),  # noqa: PLW0108 -- defined below
    Arguments: lambda kind: st.dictionaries(names, st.integers(-(10**17), 10**17) | names, max_size=2),
    Degrees: lambda kind: (
        st.integers(-kind.most, kind.most) | st.floats(-kind.most, kind.most).map(lambda x: round(x, 3))
    ),
    Values: lambda kind: st.lists(st.integers(-(10**17), 10**17) | names, max_size=2),
}
"""How to make a value that a kind takes."""


def values(kind: object) -> st.SearchStrategy[Any]:
    """Values that a kind takes, and now and then some that it does not."""
    good = MAKERS[type(kind)](kind)
    return st.integers(0, 24).flatmap(lambda dice: junk if dice == 0 else good)


def records(kind: Record) -> st.SearchStrategy[dict[str, Any]]:
    """Some of a record's keys, mostly in combinations that it takes."""
    required = {name: values(key.kind) for name, key in kind.keys.items() if key.required}
    others = {name: values(key.kind) for name, key in kind.keys.items() if not key.required}
    chosen = st.fixed_dictionaries(required, optional=others)

    def settle(found: dict[str, Any], dice: int, pick: int) -> dict[str, Any]:
        if dice == 0:
            return found | {"unknwon": 1}
        if dice == 1:
            return found
        drop = [name for name in kind.one_of if name in found][1:]
        drop += [name for name in kind.at_most_one if name in found][1:]
        if kind.one_of and not any(name in found for name in kind.one_of):
            found[kind.one_of[pick % len(kind.one_of)]] = "x"
        kept = {name: value for name, value in found.items() if name not in drop}
        return {
            name: value for name, value in kept.items() if name not in kind.only_with or kind.only_with[name] in kept
        }

    return st.builds(settle, chosen, st.integers(0, 20), st.integers(0, 5))


documents = records(DOCUMENT)


@given(documents)
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
def test_the_reader_and_the_schema_agree(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    report = Report("r.yaml")
    read = DOCUMENT.read(parse(text, report), report)
    refused = list(VALIDATOR.iter_errors(document))
    assert bool(report.count) is bool(refused), (text, [error.message for error in refused])
    with contextlib.suppress(DocumentError):
        report.raise_problems()
        assert read["where"] == "r.yaml:1:1"


@given(documents)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_any_document_gives_a_topology_or_a_document_error_in_any_style(document: dict[str, Any]) -> None:
    load_or_refuse(yaml.safe_dump(document))
    load_or_refuse(json.dumps(document))
