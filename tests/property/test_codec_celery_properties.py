"""Arbitrary messages between us and Celery: full headers, protocol 1, kombu's JSON, and signatures."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.broker.content import encode_properties
from amqtask.errors import ContentRefused, DecodeError
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.compression import decompress
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.signing import Signer
from amqtask.wire.upgrade import upgraded

ALL = ("json", "msgpack", "yaml", "pickle")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = TEXTS.filter(bool)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
).filter(lambda value: not isinstance(value, dict) or "__type__" not in value)
RICH = (
    VALUES
    | st.binary(max_size=9)
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
STAMPS = st.dictionaries(NAMES, TEXTS | st.lists(TEXTS, max_size=2) | st.integers(-9, 9), max_size=3)
MESSAGES = st.builds(
    TaskMessage,
    NAMES,
    NAMES,
    st.lists(VALUES, max_size=3).map(tuple),
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.fixed_dictionaries({name: st.none() for name in ("callbacks", "errbacks", "chain", "chord")}),
    st.integers(0, 2**31),
    MOMENTS,
    MOMENTS,
    NAMES,
    st.none() | NAMES,
    group=st.none() | NAMES,
    group_index=st.none() | st.integers(0, 2**31),
    timelimit=st.tuples(st.none() | st.integers(1, 9).map(float), st.none() | st.integers(1, 9).map(float)),
    ignore_result=st.none() | st.booleans(),
    shadow=st.none() | NAMES,
    headers=st.dictionaries(NAMES.map("x-{}".format), TEXTS, max_size=2),
    replaced_task_nesting=st.integers(0, 99),
).flatmap(lambda message: STAMPS.map(lambda stamps: stamped(message, stamps)))


def stamped(message, stamps):
    message.stamps, message.stamped_headers = stamps, tuple(stamps)
    return message


@given(MESSAGES, st.sampled_from(["json", "msgpack", "yaml", "pickle"]))
def test_a_message_with_all_headers_comes_back_and_can_be_sent(message, serializer):
    properties, body = encode(message, serializer=serializers.get(serializer), celery=True)
    assert decode(properties, body, ALL) == message
    assert encode_properties(properties._replace(message_id=None, correlation_id=None))


@given(MESSAGES)
def test_lean_headers_say_the_same(message):
    writer = serializers.get("json")
    lean = encode(message, serializer=writer)
    assert (
        lean[0].headers.keys() - message.headers.keys()
        <= encode(message, serializer=writer, celery=True)[0].headers.keys()
    )
    if message.group is None:
        message.group_index = (
            message.group_index or None
        )  # an index without a group is only said when it says something
    assert decode(*lean, ALL) == message


@given(st.lists(RICH, max_size=4))
def test_json_is_kombus_json(values):
    from kombu.utils import json as kombu

    writer = serializers.get("json")
    assert json.loads(writer.dumps(values)) == json.loads(kombu.dumps(values))
    assert kombu.loads(writer.dumps(values)) == values
    assert writer.loads(kombu.dumps(values).encode()) == values


BODIES = st.dictionaries(
    st.sampled_from(
        ["task", "id", "args", "kwargs", "group", "taskset", "group_index", "retries", "eta", "expires", "utc",
         "callbacks", "errbacks", "timelimit", "chord"]
    ),
    VALUES | st.sampled_from(["t", "2030-01-02T03:04:05", [1, None]]),
)  # fmt: skip


@given(BODIES, st.sampled_from(["json", "msgpack", "yaml"]), st.none() | st.dictionaries(TEXTS, VALUES, max_size=2))
def test_protocol_1_of_anybody_is_read_or_refused(value, name, headers):
    writer = serializers.get(name)
    body, properties = writer.dumps(value), Properties(writer.content_type, headers=headers)
    made = upgraded(properties, body, ALL)
    try:
        message = decode(properties, body, ALL)
    except (DecodeError, ContentRefused):
        assert made is None
    else:
        assert made is None or decode(*made, ALL).id == message.id


@given(st.binary(max_size=120))
def test_garbage_pickles_are_decode_errors(body):
    for headers in ({"task": "t", "id": "i"}, None):
        with contextlib.suppress(DecodeError):
            decode(Properties("application/x-python-serialize", headers=headers), body.replace(b"c", b"."), ALL)


@given(st.binary(max_size=60), st.sampled_from(["zlib", "bz2", "lzma", "zstd"]))
def test_garbage_is_unpacked_by_no_compressor(body, name):
    with contextlib.suppress(DecodeError):
        decompress(body, name, limit=1000)


SIGNER = Signer(
    SimpleNamespace(
        message_signing_keys={"k": "sixteen characters and more"},
        message_signing_key="k",
        message_signing_required=True,
        message_max_age=None,
    )
)


@given(MESSAGES, st.booleans(), st.sampled_from(["task", "id", "retries", "eta", "expires", "group"]), VALUES)
def test_signed_messages_pass_and_changed_ones_do_not(message, celery, name, value):
    properties, body = encode(message, serializer=serializers.get("json"), celery=celery)
    properties = SIGNER.sign(properties, body)
    SIGNER.verify(properties, body)
    if value != properties.headers.get(name) or type(value) is not type(properties.headers.get(name)):
        with pytest.raises(DecodeError):
            SIGNER.verify(properties._replace(headers={**properties.headers, name: value}), body)
