"""Content headers edited as bytes: what is not touched stays as it came."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from engine_bench import content_header, properties
from hypothesis import given
from hypothesis import strategies as st

from amqtask.testing.devbroker.engine import headers
from amqtask.testing.devbroker.engine.message import Message

FULL = {
    "content_type": "text/plain",
    "content_encoding": "utf-8",
    "headers": {"a": 1},
    "delivery_mode": 2,
    "priority": 7,
    "correlation_id": "c",
    "reply_to": "r",
    "expiration": "100",
    "message_id": "m",
    "timestamp": datetime(2026, 1, 2, tzinfo=UTC),
    "message_type": "t",
    "user_id": "u",
    "app_id": "a",
}
names = st.sampled_from(sorted(FULL))
# One value of every type, as brokers and clients write them.
EVERY_TYPE = {
    b"t": b"\x01",
    b"b": b"\xff",
    b"B": b"\xff",
    b"s": b"\xff\xff",
    b"u": b"\xff\xff",
    b"I": b"\xff\xff\xff\xff",
    b"i": b"\xff\xff\xff\xff",
    b"l": b"\xff" * 8,
    b"L": b"\xff" * 8,
    b"f": b"\x3f\x80\x00\x00",
    b"d": b"\x3f\xf0\x00\x00\x00\x00\x00\x00",
    b"D": b"\x02\x00\x00\x00\x64",
    b"S": b"\x00\x00\x00\x02\xff\xfe",
    b"A": b"\x00\x00\x00\x03" + b"b\x01V",
    b"T": b"\x00" * 8,
    b"F": b"\x00\x00\x00\x04" + b"\x01kt\x00",
    b"V": b"",
    b"x": b"\x00\x00\x00\x01\x00",
}


def header_with(table):
    """A content header with these encoded entries only."""
    entries = b"".join(bytes((len(name),)) + name + kind + value for name, kind, value in table)
    return content_header()[:12] + b"\x20\x00" + len(entries).to_bytes(4) + entries


@given(st.sets(names))
def test_each_property_is_found_among_any_others(chosen):
    header = content_header(**{name: FULL[name] for name in chosen})
    assert headers.octet(header, headers.PRIORITY) == (7 if "priority" in chosen else None)
    assert headers.short_string(header, headers.EXPIRATION) == ("100" if "expiration" in chosen else None)
    assert headers.table(header) == ({"a": 1} if "headers" in chosen else {})


@given(st.sets(names))
def test_taking_a_property_out_leaves_the_others(chosen):
    header = content_header(**{name: FULL[name] for name in chosen})
    left = headers.without(header, headers.EXPIRATION) if "expiration" in chosen else header
    assert left == content_header(**{name: FULL[name] for name in chosen - {"expiration"}})


@given(st.sets(names), st.dictionaries(st.text(min_size=1, max_size=9), st.integers(0, 9), max_size=4))
def test_adding_fields_leaves_the_other_properties(chosen, table):
    fields = {name: FULL[name] for name in chosen - {"headers"}}
    header = content_header(**fields, headers=table or None)
    changed = headers.with_fields(header, {b"new": headers.long_string("value"), b"gone": None})
    assert properties(Message("", "", changed, b"")).headers == {
        **{name: value for name, value in table.items() if name != "gone"},
        "new": "value",
    }
    assert headers.without(changed, headers.HEADERS) == headers.without(content_header(**fields), headers.HEADERS)


def test_values_of_every_type_stay_as_they_came():
    entries = [(b"n" + kind, kind, value) for kind, value in EVERY_TYPE.items()]
    header = header_with(entries)
    expected = sorted((name, kind + value) for name, kind, value in entries)
    assert sorted(headers.fields(header)) == expected
    changed = headers.with_fields(header, {b"x": headers.long_integer(-1)})
    assert headers.fields(changed) == sorted([*expected, (b"x", b"l" + b"\xff" * 8)])


def test_fields_are_sorted_by_name_once_the_broker_adds_one():
    header = header_with([(b"z", b"V", b""), (b"a", b"V", b"")])
    names = [field.name for field in headers.fields(headers.with_fields(header, {b"m": b"V"}))]
    assert names == [b"a", b"m", b"z"]


def test_a_table_is_read_with_its_types():
    header = header_with([(b"d", b"D", EVERY_TYPE[b"D"]), (b"n", b"V", b""), (b"f", b"d", EVERY_TYPE[b"d"])])
    assert headers.table(header) == {"d": Decimal("1.00"), "n": None, "f": 1.0}


@pytest.mark.parametrize("length", range(14, len(content_header(**FULL)) - 1))
def test_a_header_that_ends_too_early_is_told(length):
    header = content_header(**FULL)[:length]
    with pytest.raises(headers.Malformed):
        headers.locate(header, 0x0008)


@given(st.binary(max_size=60))
def test_no_bytes_do_more_harm_than_being_refused(data):
    header = content_header()[:12] + b"\xff\xfe" + data
    for read in (
        headers.fields,
        headers.table,
        lambda header: headers.short_string(header, headers.EXPIRATION),
        lambda header: headers.with_fields(header, {b"a": b"V"}),
    ):
        try:
            read(header)
        except headers.Malformed:
            continue
