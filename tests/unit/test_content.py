"""Properties and headers to bytes: what pika reads back is what was given, and the rest is refused clearly."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.broker.content import check_short, encode_properties, seal
from amqtask.broker.interface import ConnectionOptions
from amqtask.errors import EncodeError, MessageTooLarge
from amqtask.wire.message import Outgoing, Properties

OPTIONS = ConnectionOptions(max_message_size=1000)


def read_back(properties: Properties) -> Any:
    return pika.BasicProperties().decode(encode_properties(properties))


def headers_back(headers: dict[str, Any]) -> Any:
    return read_back(Properties(headers=headers)).headers


def message(properties: Properties | None = None, body: bytes = b"", **route: str) -> Outgoing:
    return Outgoing(route.get("exchange", ""), route.get("routing_key", "q"), properties or Properties(), body)


def test_every_property_comes_back():
    given_ = Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={"a": 1},
        delivery_mode=2,
        priority=9,
        correlation_id="c",
        reply_to="r",
        expiration="1000",
        message_id="m" * 255,
        timestamp=1_700_000_000,
        type="ty",
        user_id="guest",
        app_id="ä",
    )
    back = read_back(given_)
    assert Properties(*(getattr(back, name) for name in Properties._fields)) == given_


def test_absent_properties_take_no_space():
    assert len(encode_properties(Properties(delivery_mode=None))) == 2


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 7


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ("text", "text"),
        ("", ""),
        ("ä€😀", "ä€😀"),
        (True, True),
        (0, 0),
        (-5, -5),
        (2**31, 2**31),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        (None, None),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"x"), b"x"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
        ),
        (Decimal("12.50"), Decimal("12.50")),
        (Decimal(300), Decimal(300)),
        ([1, [2, "x"], {"y": None}], [1, [2, "x"], {"y": None}]),
        ((1, 2), [1, 2]),
        ({"nested": {"deep": [True]}}, {"nested": {"deep": [True]}}),
        (Colour.RED, "red"),
        (Level.HIGH, 7),
    ],
)
def test_a_header_value_comes_back(value: Any, back: Any):
    received = headers_back({"h": value})["h"]
    assert received == back
    assert isinstance(received, type(back))  # pika reads 64 bits as a subclass of int


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8"))
    | st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=60)
TABLES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(NAMES, TABLES, max_size=6))
def test_any_table_of_supported_types_comes_back(headers: dict[str, Any]):
    assert headers_back(headers) == headers


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.5, "float"),
        (float("nan"), "float"),
        (2**63, "64 bits"),
        (object(), "object"),
        ({1, 2}, "set"),
        (datetime(1960, 1, 1, tzinfo=UTC), "1970"),
        (Decimal("1e-300"), "decimal"),
        (Decimal("NaN"), "finite"),
    ],
)
def test_a_header_that_amqp_cannot_carry_is_refused_by_name(value: Any, says: str):
    with pytest.raises(EncodeError, match=says) as caught:
        seal(message(Properties(headers={"fine": 1, "culprit": {"inner": value}})), OPTIONS)
    assert "'culprit'.'inner'" in str(caught.value)


def test_a_header_name_must_be_a_short_text():
    with pytest.raises(EncodeError, match="255"):
        headers_back({"n" * 256: 1})
    with pytest.raises(EncodeError, match="int"):
        headers_back({5: 1})  # type: ignore[dict-item]


def test_headers_that_contain_themselves_are_refused():
    headers: dict[str, Any] = {}
    headers["again"] = headers
    with pytest.raises(EncodeError):
        headers_back(headers)


@pytest.mark.parametrize(
    "properties",
    [
        Properties(correlation_id="x" * 256),
        Properties(message_id="ä" * 128),
        Properties(priority=256),
        Properties(priority=-1),
        Properties(timestamp=-1),
        Properties(timestamp=1.5),  # type: ignore[arg-type]
        Properties(type=5),  # type: ignore[arg-type]
        Properties(headers=[1]),  # type: ignore[arg-type]
    ],
)
def test_a_property_that_does_not_fit_is_refused(properties: Properties):
    with pytest.raises(EncodeError, match="must be|255"):
        seal(message(properties), OPTIONS)


def test_names_longer_than_255_bytes_are_refused():
    check_short("routing key", "ä" * 127)
    for text in ("k" * 256, "ä" * 128):
        with pytest.raises(EncodeError, match="routing key"):
            seal(message(routing_key=text), OPTIONS)


def test_a_body_over_the_limit_is_refused():
    seal(message(body=b"x" * 1000), OPTIONS)
    with pytest.raises(MessageTooLarge, match="1001"):
        seal(message(body=b"x" * 1001), OPTIONS)


def test_headers_over_the_frame_are_refused():
    seal(message(Properties(headers={"h": "x" * 120_000})), OPTIONS)
    with pytest.raises(MessageTooLarge, match="headers"):
        seal(message(Properties(headers={"h": "x" * 127_000})), OPTIONS)
    with pytest.raises(MessageTooLarge, match="headers"):
        seal(message(Properties(headers={"h": "x" * 5000})), OPTIONS, frame_max=8192)


@pytest.mark.parametrize(
    "unsendable",
    [
        message(routing_key="\ud800"),
        message(Properties(reply_to="\ud800")),
        message(Properties(headers={"h": "\ud800"})),
        message(Properties(headers={"\ud800": 1})),
    ],
)
def test_text_with_lone_surrogates_is_refused_as_every_other_value_that_can_not_be_sent(unsendable: Outgoing):
    with pytest.raises(EncodeError):
        seal(unsendable, OPTIONS)
