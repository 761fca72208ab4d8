"""A message that has been a row of the outbox is, byte for byte, the one that would have been published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from amqtask.broker.content import encode_properties
from amqtask.outbox.rows import Row, columns_of, message_of
from amqtask.wire.message import Outgoing, Properties

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["$", "$b", "$$t", "$d", "CC"])
moments = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 -- as hypothesis wants it
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7)), None]),
)
decimals = st.integers(-(2**31), 2**31 - 1).flatmap(
    lambda number: st.integers(0, 20).map(lambda scale: Decimal(number).scaleb(-scale))
)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | names | st.binary(max_size=20)
values = st.recursive(
    plain | moments | decimals,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)
short = st.none() | names
properties = st.builds(
    Properties,
    content_type=short,
    headers=st.none() | st.dictionaries(names, values, max_size=5),
    delivery_mode=st.none() | st.integers(0, 255),
    priority=st.none() | st.integers(0, 255),
    correlation_id=short,
    reply_to=short,
    expiration=st.none() | st.integers(0).map(str),
    message_id=short,
    timestamp=st.none() | st.integers(0, 2**40),
    app_id=short,
)


@given(properties, names, names, st.binary())
def test_a_row_holds_the_message_as_it_would_be_published(properties, exchange, routing_key, body):
    message = Outgoing(exchange, routing_key, properties, body)
    read = message_of(Row(1, **columns_of(message)))
    assert read._replace(properties=None) == message._replace(properties=None)
    assert encode_properties(read.properties) == encode_properties(properties)
