"""Our reader of deliveries and pika's see the same messages, however the stream is cut."""

from __future__ import annotations

from datetime import UTC, datetime

import pika
from hypothesis import given
from hypothesis import strategies as st
from pika import data, frame, spec

from amqtask.broker.deliveries import DeliveryReader

short = st.text(max_size=40).filter(lambda text: len(text.encode()) <= 255)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=30) | st.binary(max_size=30)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3))
moments = st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
headers = st.dictionaries(short, values | moments, max_size=5)
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
messages = st.lists(
    st.tuples(
        st.integers(1, 3), short, st.integers(1, 2**63), st.booleans(), short, properties, st.binary(max_size=300)
    ),
    max_size=5,
)


def marshal(channel, tag, number, redelivered, key, fields, body):
    method = spec.Basic.Deliver(tag, number, redelivered, "exchange", key)
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
        expected.decode(b"".join(pika.BasicProperties(**message[5]).encode()))
        assert channel == message[0]
        assert (method.consumer_tag, method.delivery_tag, method.redelivered) == message[1:4]
        assert (method.exchange, method.routing_key) == ("exchange", message[4])
        assert body == message[6]
        for name in NAMES:
            assert getattr(read, name) == getattr(expected, name)


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
