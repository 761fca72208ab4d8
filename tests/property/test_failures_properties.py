"""Exceptions across processes, for any arguments and any document."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from amqtask.results.failures import to_document, to_exception
from amqtask.wire.codec import serializers

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10), inner, max_size=5
    ),
    max_leaves=10,
)  # fmt: skip
RICH = st.recursive(
    PLAIN | st.binary(max_size=100) | st.datetimes() | st.uuids() | st.decimals() | st.complex_numbers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = ["exc_type", "exc_message", "exc_module", "x-text", "x-cause", "x-members", "x-notes", "__type__", "__value__"]
NAMES = st.sampled_from(
    ["ValueError", "OSError", "ExceptionGroup", "SystemExit", "Reject", "builtins", "amqtask.errors"]
)
DOCUMENTS = st.recursive(
    PLAIN | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=9),
    max_leaves=15,
)


def marked(value: Any) -> bool:
    """Whether it holds what JSON messages mark rich types with."""
    if isinstance(value, dict):
        return set(value) == {"__type__", "__value__"} or any(marked(inner) for inner in value.values())
    return isinstance(value, list) and any(marked(inner) for inner in value)


@given(st.lists(PLAIN, max_size=5).filter(lambda args: not marked(args)))
def test_plain_arguments_come_back_equal(args):
    again = to_exception(json.loads(json.dumps(to_document(ValueError(*args)), allow_nan=False)))
    assert type(again) is ValueError
    assert list(again.args) == args


@given(st.lists(RICH, max_size=5))
def test_any_arguments_can_be_sent_by_every_serializer(args):
    document = to_document(KeyError(*args))
    for name in ("json", "msgpack", "yaml"):
        serializer = serializers.get(name)
        again = to_exception(serializer.loads(serializer.dumps(document)))
        assert type(again) is KeyError
        assert len(again.args) == len(args)


@given(DOCUMENTS)
def test_any_document_is_read_as_an_exception(document):
    again = to_exception(document, "trace")
    assert isinstance(again, Exception)
    assert isinstance(str(again), str)
