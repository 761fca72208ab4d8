"""The limit key and the stamps of a signed task: whom it counts for, and what may revoke it."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType

import pika
import pytest
from signing_settings import keyed

from amqtask.broker.content import encode_properties
from amqtask.errors import DecodeError
from amqtask.wire.codec import encode, serializers
from amqtask.wire.message import TaskMessage
from amqtask.worker.pools.prefork.frames import FrameReader, FrameWriter

KEY = keyed("k")


class Colour(enum.IntEnum):
    RED = 1


def signed(by, **more):
    properties, body = encode(TaskMessage("t", "i", (1,), **more), serializer=serializers.get("json"))
    return by.sign(properties, body), body


def test_the_limit_key_and_stamps_of_a_task_can_neither_be_changed_nor_taken_away():
    mine = {"x-amqtask-limit-key": "tenant 1"}
    properties, body = signed(KEY, headers=mine, stamps={"tenant": ["1", 2]}, stamped_headers=("tenant",))
    KEY.verify(properties, body)
    for name, value in [
        ("x-amqtask-limit-key", "tenant 2"), ("x-amqtask-limit-key", None), ("x-amqtask-limit-key", ""),
        ("stamps", {"tenant": ["1"]}), ("stamps", {}), ("stamps", None), ("stamps", {"other": ["1", 2]}),
    ]:  # fmt: skip
        with pytest.raises(DecodeError, match="is wrong"):
            KEY.verify(properties._replace(headers={**properties.headers, name: value}), body)
    without = {name: value for name, value in properties.headers.items() if name not in ("stamps", *mine)}
    with pytest.raises(DecodeError, match="is wrong"):
        KEY.verify(properties._replace(headers=without), body)


def test_stamps_that_say_nothing_change_no_signature():
    """Celery's clients, and ours for Celery, write them always."""
    properties, body = signed(KEY)
    KEY.verify(properties._replace(headers={**properties.headers, "stamps": {}, "stamped_headers": None}), body)


def test_a_signature_over_stamps_of_any_type_survives_the_broker_and_the_way_to_a_child():
    """What AMQP carries in another form than it was given must not make the signature wrong."""
    values = [
        "é", True, None, -5, 2**40, 1.5, 2.0, b"\xff", bytearray(b"ab"), memoryview(b"cd"), Decimal("1.10"),
        Decimal("5E+2"), datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
        {"a": [Decimal("0.50"), {"b": b"x"}]}, ("t", {"s"}), Colour.RED, MappingProxyType({"k": 1}),
    ]  # fmt: skip
    stamps = {f"s{number}": value for number, value in enumerate(values)}
    properties, body = signed(KEY, stamps=stamps)
    received = pika.BasicProperties().decode(encode_properties(properties))
    KEY.verify(received, body)
    again = pika.BasicProperties().decode(encode_properties(properties._replace(headers=received.headers)))
    KEY.verify(again, body)
    ((headers,),) = FrameReader().feed(FrameWriter().frame(received.headers))
    KEY.verify(properties._replace(headers=headers), body)
