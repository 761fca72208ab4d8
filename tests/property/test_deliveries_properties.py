"""Our reader of deliveries and pika's see the same messages, however the stream is cut."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pika
from hypothesis import given
from hypothesis import strategies as st
from pika import data, frame, spec
from pika.compat import long

from amqtask.broker.deliveries import DeliveryReader

short = st.text(max_size=40).filter(lambda text: len(text.encode()) <= 255)
numbers = st.sampled_from([0, -1, -(2**31) - 1, 2**31, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
plain = st.none() | st.booleans() | numbers | numbers.map(long) | st.text(max_size=30) | st.binary(max_size=30)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3))
moments = st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
headers = st.dictionaries(short, plain | values | moments, max_size=5)
NAMES = [
    "content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id",
]  # fmt: skip
properties = st.fixed_dictionaries(
    {},
    optional={
        **{name: short for name in NAMES if name not in ("headers", "delivery_mode", "priority", "timestamp")},
        "headers": headers,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "timestamp": st.integers(0, 2**40),
    },
)
few = st.sampled_from(["", "a", "ab", "\x01a", "a" * 255, b"\xff", b"\xffa"]) | short
"""What equals that of the last delivery is not read again; so equal ones must come, and ones that begin alike."""
methods = st.builds(spec.Basic.Deliver, few, st.integers(1, 2**63), st.booleans(), few, few)
messages = st.lists(st.tuples(st.integers(1, 3), methods, properties, st.binary(max_size=300)), max_size=5)


def kinds(value):
    """The types in a header's value, for True equals 1; pika's ``long`` is an int that it would send as one again."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [kinds(inner) for inner in value]
    return int if type(value) is long else type(value)


def marshal(channel, method, fields, body):
    yield frame.Method(channel, method).marshal()
    yield frame.Header(channel, len(body), pika.BasicProperties(**fields)).marshal()
    for start in range(0, len(body), 100):
        yield frame.Body(channel, body[start : start + 100]).marshal()


@given(messages, st.lists(st.integers(1, 50), min_size=1, max_size=20), st.booleans())
def test_every_delivery_is_read_as_pika_reads_it(messages, cuts, with_others):
    ours, others = [], []
    reader = DeliveryReader(lambda *delivery: ours.append(delivery), others.append, data.decode_value)
    heartbeat = frame.Heartbeat().marshal()
    stream = b"".join(
        part for message in messages for part in [*marshal(*message), *([heartbeat] if with_others else [])]
    )
    position = 0
    for number in range(len(stream) + 1):
        if position >= len(stream):
            break
        size = cuts[number % len(cuts)]
        reader.feed(stream[position : position + size])
        position += size
    assert others == [heartbeat] * (len(messages) if with_others else 0)
    assert len(ours) == len(messages)
    for (channel, method, read, body), message in zip(ours, messages, strict=True):
        expected = pika.BasicProperties()
        expected.decode(b"".join(pika.BasicProperties(**message[2]).encode()))
        assert channel == message[0]
        pikas = spec.Basic.Deliver().decode(b"".join(message[1].encode()))
        assert method == tuple(getattr(pikas, name) for name in method._fields)
        assert body == message[3]
        for name in NAMES:
            assert getattr(read, name) == getattr(expected, name)
            assert kinds(getattr(read, name)) == kinds(getattr(expected, name))


acks = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2**63), st.booleans()), max_size=8)


@given(acks, messages, st.integers(1, 60))
def test_every_confirm_of_a_confirm_channel_is_read_as_pika_reads_it(acks, messages, size):
    told, deliveries, others = [], [], []
    reader = DeliveryReader(lambda *delivery: deliveries.append(delivery), others.append, data.decode_value)
    reader.confirmed[2] = lambda *ack: told.append(ack)
    frames = [frame.Method(channel, spec.Basic.Ack(tag, multiple)).marshal() for channel, tag, multiple in acks]
    returned = [  # a basic.return's body that looks like an ack
        frame.Method(2, spec.Basic.Return(312, "NO_ROUTE", "e", "k")).marshal(),
        frame.Header(2, 13, pika.BasicProperties()).marshal(),
        frame.Body(2, frame.Method(2, spec.Basic.Ack(7)).marshal()[7:-1]).marshal(),
    ]
    stream = b"".join([*frames, *returned, *(part for message in messages for part in marshal(*message))])
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    assert told == [(tag, multiple) for channel, tag, multiple in acks if channel == 2]
    assert others == [one for one, (channel, *_) in zip(frames, acks, strict=True) if channel != 2] + returned
    assert len(deliveries) == len(messages)


@given(st.sampled_from([b"t", b"l", b"S", b"t\x01", b"l\0\0", b"S\0\0"]), st.integers(0, 3))
def test_a_table_that_ends_early_spoils_its_own_headers_only(value, claimed):
    table = b"\x01a" + value
    ours = []
    reader = DeliveryReader(lambda *delivery: ours.append(delivery), lambda _: None, data.decode_value)
    payload = struct.pack(">HHQHI", 60, 0, 0, 1 << 13, len(table) + claimed) + table
    broken = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    method = spec.Basic.Deliver("tag", 1, False, "e", "k")
    reader.feed(frame.Method(1, method).marshal() + broken)
    reader.feed(b"".join(marshal(1, method, {"message_id": "m"}, b"body")))
    assert [body for *_, body in ours] == [b"", b"body"]
    assert ours[1][2].message_id == "m"
