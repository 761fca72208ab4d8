"""The codec under arbitrary values and arbitrary garbage."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import msgpack
import yaml
from hypothesis import given
from hypothesis import strategies as st

from amqtask.errors import ContentRefused, DecodeError
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.compression import CONTENT_TYPES
from amqtask.wire.message import Properties, TaskMessage

ALL = ("msgpack", "json", "yaml")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.binary(max_size=20)
RICH = PLAIN | st.datetimes(timezones=st.just(UTC)) | st.datetimes() | st.dates() | st.times() | st.uuids()
RICH |= st.decimals(allow_nan=False)


def nested(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
        max_leaves=12,
    ).filter(lambda value: not isinstance(value, dict) or "__type__" not in value)


def round_trip(serializer, args, kwargs, compression=None):
    message = TaskMessage("t", "i", tuple(args), kwargs)
    properties, body = encode(message, serializer=serializers.get(serializer), compression=compression)
    return decode(properties, body, ALL)


@given(st.lists(nested(RICH), max_size=3), st.dictionaries(TEXTS, nested(RICH), max_size=3))
def test_json_reads_what_it_wrote(args, kwargs):
    back = round_trip("json", args, kwargs)
    assert (back.args, back.kwargs) == (tuple(args), kwargs)


@given(
    st.lists(nested(RICH | st.sets(st.integers() | TEXTS | st.tuples(TEXTS))), max_size=3),
    st.dictionaries(TEXTS, nested(RICH), max_size=3),
    st.sampled_from([None, *CONTENT_TYPES]),
)
def test_msgpack_reads_what_it_wrote(args, kwargs, compression):
    back = round_trip("msgpack", args, kwargs, compression)
    assert (back.args, back.kwargs) == (tuple(args), kwargs)


@given(st.lists(nested(PLAIN | st.sets(st.integers()) | st.dates()), max_size=3))
def test_yaml_reads_what_it_wrote(args):
    assert round_trip("yaml", args, {}).args == tuple(args)


@given(st.integers(0, 10**9), st.integers(0, 2**31), st.text(min_size=1), st.none() | st.booleans())
def test_headers_come_back(retries, seconds, root, ignore):
    message = TaskMessage("t", "i", retries=retries, root_id=root, ignore_result=ignore)
    message.eta = message.expires = datetime.fromtimestamp(seconds, UTC)
    assert decode(*encode(message, serializer=serializers.get("msgpack")), ALL) == message


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary() | st.datetimes()
TABLE_VALUES = st.recursive(
    SCALARS | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
HEADERS = ("eta", "expires", "retries", "timelimit", "root_id", "parent_id", "group", "group_index",
           "compression", "ignore_result", "shadow", "stamps", "stamped_headers",
           "replaced_task_nesting")  # fmt: skip


def only_known_errors(properties, body):
    with contextlib.suppress(DecodeError, ContentRefused):
        decode(properties, body, ALL)


@given(st.sampled_from([s.content_type for s in map(serializers.get, ALL)]), st.binary(max_size=200))
def test_garbage_bodies_raise_only_decode_errors(content_type, body):
    only_known_errors(Properties(content_type=content_type, headers={"task": "t", "id": "i"}), body)


@given(nested(RICH))
def test_bodies_that_are_no_tasks_raise_only_decode_errors(value):
    for name in ("msgpack", "json"):
        serializer = serializers.get(name)
        only_known_errors(
            Properties(content_type=serializer.content_type, headers={"task": "t", "id": "i"}),
            serializer.dumps(value),
        )


@given(st.dictionaries(st.sampled_from(HEADERS), TABLE_VALUES), st.none() | st.text())
def test_garbage_headers_raise_only_known_errors(headers, content_type):
    body = b"[[],{},{}]"
    only_known_errors(Properties(content_type="application/json", headers={"task": "t", "id": "i", **headers}), body)
    only_known_errors(Properties(content_type=content_type, headers={**headers}), body)


@given(TABLE_VALUES, TABLE_VALUES)
def test_garbage_names_raise_only_known_errors(task, task_id):
    only_known_errors(Properties(content_type="application/json", headers={"task": task, "id": task_id}), b"[[],{},{}]")


@given(st.binary(max_size=60), st.integers(-128, 127))
def test_foreign_msgpack_extensions_do_no_harm(data, code):
    body = msgpack.packb([[1], {}, {}])[:2] + b"\xc7" + bytes([len(data), code % 256]) + data + b"\x80\x80"
    only_known_errors(Properties(content_type="application/x-msgpack", headers={"task": "t", "id": "i"}), body)


@given(st.text())
def test_yaml_builds_no_objects(text):
    body = yaml.safe_dump([[text], {}, {}]).replace(text[:1] or "x", "!!python/object/apply:os.getcwd []", 1)
    only_known_errors(
        Properties(content_type="application/x-yaml", headers={"task": "t", "id": "i"}),
        body.encode("utf-8", "surrogatepass"),
    )
