"""Task messages on the wire: what is written, what is read, what is refused."""

from __future__ import annotations

import enum
import json
import zlib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import msgpack
import pytest

from amqtask.errors import ConfigError, ContentRefused, DecodeError, EncodeError
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.compression import CONTENT_TYPES, compress, decompress
from amqtask.wire.message import Properties, TaskMessage, strip_broker_headers

ALL = ("msgpack", "json", "yaml")
JSON = Properties(content_type="application/json", headers={"task": "t", "id": "i"})


class Colour(enum.Enum):
    RED = "red"


def sent_and_read(message, serializer="msgpack", **options):
    return decode(*encode(message, serializer=serializers.get(serializer), **options), ALL)


def test_only_what_says_something_is_written():
    properties, body = encode(TaskMessage("t", "i", (1,)), serializer=serializers.get("json"))
    assert properties == Properties(
        "application/json", "utf-8", {"task": "t", "id": "i"}, 2, None, correlation_id="i", message_id="i"
    )
    assert json.loads(body) == [[1], {}, {}]


def test_every_field_survives_the_trip():
    message = TaskMessage(
        "t",
        "i",
        (1, "zwei"),
        {"drei": [4.5, None, True]},
        {"chain": [{"task": "next"}]},
        3,
        datetime(2030, 1, 2, tzinfo=UTC),
        datetime(2030, 1, 3, tzinfo=UTC),
        "root",
        "parent",
        "group",
        0,
        (30.0, 2.5),
        True,
        "alias",
        {"mine": 1},
    )
    for serializer in ALL:
        assert sent_and_read(message, serializer, compression="lzma", priority=4) == message


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
@pytest.mark.parametrize(
    "value",
    [
        datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        datetime(2030, 1, 2, 3, 4, 5),  # noqa: DTZ001
        date(2030, 1, 2),
        time(3, 4, 5, 6),
        UUID("01a1fbdf-8702-7049-800e-95da4ae3edc0"),
        Decimal("1.10"),
        b"\x00\xff",
        2**200,
        -(2**5000),
        "\u2028 🐇 \x00",
        float("inf"),
    ],
)
def test_rich_values_survive(serializer, value):
    (back,) = sent_and_read(TaskMessage("t", "i", (value,)), serializer).args
    assert (type(back), back) == (type(value), value)


def test_msgpack_keeps_sets_and_what_is_in_them():
    value = {(1, 2), frozenset({(3,)}), "x"}
    (back, frozen) = sent_and_read(TaskMessage("t", "i", (value, frozenset({1})))).args
    assert back == value
    assert type(frozen) is frozenset


def test_some_values_change_their_type_as_the_reference_says():
    values = (Colour.RED, Path("/tmp/x"), (1, 2))
    for serializer in ("msgpack", "json"):
        assert sent_and_read(TaskMessage("t", "i", values), serializer).args == ("red", "/tmp/x", [1, 2])
    assert sent_and_read(TaskMessage("t", "i", ({1},)), "json").args == ([1],)


def test_subclasses_of_dates_are_dates():
    class Day(date):
        pass

    assert sent_and_read(TaskMessage("t", "i", (Day(2030, 1, 2),))).args == (date(2030, 1, 2),)


@pytest.mark.parametrize("serializer", ALL)
def test_what_cannot_be_written_is_an_encode_error(serializer):
    endless = []
    endless.append(endless)
    # YAML has escapes for lone surrogates and anchors for what contains itself
    for value in (object(), lambda: 0, *([] if serializer == "yaml" else ["\ud800", endless])):
        with pytest.raises(EncodeError, match=f"arguments can't be sent as {serializer}"):
            encode(TaskMessage("t", "i", (value,)), serializer=serializers.get(serializer))


def test_a_message_as_celery_sends_it_is_read():
    body = json.dumps(
        [
            [{"__type__": "datetime", "__value__": "2030-01-02T00:00:00+00:00"}],
            {"id": {"__type__": "uuid", "__value__": {"hex": "01a1fbdf87027049800e95da4ae3edc0"}}},
            {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
        ]
    ).encode()
    headers = {
        "lang": "py", "task": "proj.add", "id": "i", "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None],
        "root_id": "i", "parent_id": None,
        "argsrepr": "()", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": False,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    message = decode(Properties(content_type="application/json", headers=headers), body, ["json"])
    assert message.args == (datetime(2030, 1, 2, tzinfo=UTC),)
    assert message.kwargs == {"id": UUID("01a1fbdf-8702-7049-800e-95da4ae3edc0")}
    assert (message.retries, message.ignore_result, message.timelimit) == (0, False, (None, None))
    assert message.headers == {}
    assert (message.stamps, message.stamped_headers, message.replaced_task_nesting) == ({}, (), 0)


def test_kombus_bytes_and_dates_are_read():
    body = json.dumps(
        [
            [
                {"__type__": "bytes", "__value__": "text"},
                {"__type__": "base64", "__value__": "AP8="},
                {"__type__": "date", "__value__": "2030-01-02T00:00:00"},
                {"__type__": "decimal", "__value__": "1.5", "third": 1},
            ],
            {},
            None,
        ]
    ).encode()
    assert decode(JSON, body, ["json"]).args == (
        b"text",
        b"\x00\xff",
        date(2030, 1, 2),
        {"__type__": "decimal", "__value__": "1.5", "third": 1},
    )


def test_a_timestamp_of_another_msgpack_writer_is_a_datetime():
    body = msgpack.packb([[msgpack.Timestamp(1, 0)], {}, {}])
    properties = Properties(content_type="application/x-msgpack", headers={"task": "t", "id": "i"})
    assert decode(properties, body, ALL).args == (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),)


@pytest.mark.parametrize("content_type", [None, "", "application/x-yaml", "application/x-python-serialize", "json5"])
def test_other_content_types_are_refused(content_type):
    properties = Properties(content_type=content_type, headers={"task": "t", "id": "i"})
    with pytest.raises(ContentRefused, match="accept_content: msgpack, json"):
        decode(properties, b"[]", ["msgpack", "json"])


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"[[],{}]", b"[[],{},{},{}]", b'{"a":1}', b"[{},{},{}]", b"[[],[],{}]",
     b"[1,{},{}]",
     b'[[{"__type__":"uuid","__value__":{"hex":"x"}}],{},{}]', b'[[{"__type__":["a"],"__value__":1}],{},{}]',
     b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_task_is_a_decode_error(body):
    with pytest.raises(DecodeError):
        decode(JSON, body, ["json"])


@pytest.mark.parametrize(
    "changes",
    [
        {"task": None}, {"task": ""}, {"task": 7}, {"id": None}, {"id": b"x"}, {"eta": "soon"}, {"eta": 5},
        {"expires": [1]}, {"retries": "many"}, {"retries": [1]}, {"retries": float("inf")}, {"timelimit": 5},
        {"timelimit": [1]}, {"timelimit": ["a", "b"]}, {"timelimit": ["nan", None]}, {"timelimit": [-1, None]},
        {"stamps": [1]},
        {"stamped_headers": {"a": 1}}, {"stamped_headers": [1]}, {"replaced_task_nesting": "x"},
        {"root_id": 3}, {"group": {}}, {"group_index": "x"},
        {"compression": "zip"}, {"compression": 5}, {"compression": ["x"]},
        {"compression": "application/x-gzip"},
    ],
)  # fmt: skip
def test_headers_that_make_no_sense_are_a_decode_error(changes):
    properties = Properties(content_type="application/json", headers={"task": "t", "id": "i", **changes})
    with pytest.raises(DecodeError):
        decode(properties, b"[[],{},{}]", ["json"])


def test_a_message_without_headers_is_a_decode_error():
    with pytest.raises(DecodeError, match="no header 'task', and the body is not a map of protocol 1"):
        decode(Properties(content_type="application/json"), b"[[],{},{}]", ["json"])


def test_negative_retries_count_as_none():
    properties = Properties(content_type="application/json", headers={"task": "t", "id": "i", "retries": -5})
    assert decode(properties, b"[[],{},{}]", ["json"]).retries == 0


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_every_compression_is_undone_and_bounded(name):
    body = b"x" * 10_000
    packed, content_type = compress(body, name)
    assert decompress(packed, content_type) == decompress(packed, name) == body
    assert decompress(packed, content_type, limit=10_000) == body
    with pytest.raises(DecodeError, match="more than 9999 bytes"):
        decompress(packed, content_type, limit=9_999)
    with pytest.raises(DecodeError, match="cut short"):
        decompress(packed[:-1], content_type)
    with pytest.raises(DecodeError, match="bytes after its end"):
        decompress(packed + b"more", content_type)
    with pytest.raises(DecodeError, match="broken"):
        decompress(b"\x00garbage", content_type)


def test_an_unknown_compressor_is_a_config_error():
    with pytest.raises(ConfigError, match="unknown compression 'zip'; there are bz2"):
        compress(b"", "zip")


@pytest.mark.parametrize(
    "plain", [{}, {"ignore_result": True}, {"x-delivery-count": 2}, {"x-delivery-count": 0, "ignore_result": False}]
)
def test_a_message_that_says_little_is_read_as_any_other(plain):
    headers = {"task": "t", "id": "i", **plain}
    sent = Properties("application/x-msgpack", "binary", headers)
    read = decode(sent, msgpack.packb([[1], {}, {}]), ["msgpack"])
    assert read == decode(sent._replace(headers={**headers, "retries": 0}), msgpack.packb([[1], {}, {}]), ["msgpack"])


def test_small_bodies_stay_as_they_are():
    serializer = serializers.get("json")
    properties, body = encode(TaskMessage("t", "i"), serializer=serializer, compression="zlib", compression_min=50)
    assert body == b"[[],{},{}]"
    properties, body = encode(TaskMessage("t", "i"), serializer=serializer, compression="zlib", compression_min=10)
    assert zlib.decompress(body) == b"[[],{},{}]"
    assert properties.headers["compression"] == "application/x-gzip"


def test_headers_of_one_stay_in_a_queue_are_left_behind():
    kept = {"task": "t", "x-amqtask-lost": 1}
    assert strip_broker_headers({**kept, "x-death": [], "CC": ["q"], "x-first-death-queue": "q"}) == kept
    assert strip_broker_headers(None) == {}


def test_an_unknown_serializer_names_the_nearest():
    with pytest.raises(
        ConfigError, match="unknown serializer 'jsn'; there are json, msgpack, pickle, yaml; did you mean"
    ):
        serializers.get("jsn")
    assert serializers.names() == ["json", "msgpack", "pickle", "yaml"]
