"""Does this pika still have the internals that the fast paths lean on, and do they still mean the same?

Owns the three proofs, each made once per process by doing the same thing both ways. Where one fails, pika's public way
is taken: slower, and otherwise the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pika
from pika import data, frame
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from amqtask.broker.deliveries import Deliver, DeliveryReader
from amqtask.broker.frames import PublishFrames, ack_frames
from amqtask.wire.message import Properties

_ACKS = ((9, True), (2**40, False))


@lru_cache(maxsize=1)
def fast_publishing_works() -> bool:
    """Does this pika still frame publishes and acks as we do, and still have the method we need?"""
    try:
        properties = pika.BasicProperties(content_type="text/plain", headers={"a": 1, "b": "c"}, delivery_mode=2)
        body = b"x" * 5000
        expected: list[bytes] = []
        probe = SelectConnection.__new__(SelectConnection)
        probe._body_max_length = 4096 - 8  # noqa: SLF001
        probe._output_marshaled_frames = expected.extend  # noqa: SLF001
        method = pika.spec.Basic.Publish(exchange="e", routing_key="k", mandatory=True)
        probe._send_method(7, method, (properties, body))  # noqa: SLF001
        mine: list[bytes] = []
        PublishFrames(7, 4096).add(mine, "e", "k", b"".join(properties.encode()), body)
        acks = [frame.Method(7, pika.spec.Basic.Ack(tag, multiple)).marshal() for tag, multiple in _ACKS]
        return (
            b"".join(mine) == b"".join(expected)
            and ack_frames(7, _ACKS) == b"".join(acks)
            and callable(SelectConnection._output_marshaled_frames)  # noqa: SLF001
        )
    except Exception:
        return False


@lru_cache(maxsize=1)
def fast_reading_works() -> bool:
    """Does our reader agree with this pika, and does pika still have what it is hooked into?"""
    try:
        properties = pika.BasicProperties(content_type="a/b", headers={"a": 1, "b": ["c"]}, priority=4, message_id="m")
        method = pika.spec.Basic.Deliver("tag", 7, True, "e", "k")
        parts = [
            frame.Method(3, method).marshal(),
            frame.Header(3, 5, properties).marshal(),
            frame.Body(3, b"hello").marshal(),
            frame.Heartbeat().marshal(),
            frame.Method(4, pika.spec.Basic.Ack(9, True)).marshal(),
            frame.Method(3, pika.spec.Basic.Ack(8)).marshal(),
        ]
        deliveries: list[tuple[int, Deliver, Properties, bytes]] = []
        others: list[bytes] = []
        reader = DeliveryReader(lambda *one: deliveries.append(one), others.append, data.decode_value)
        confirms: list[tuple[int, bool]] = []
        reader.confirmed[3] = lambda *one: confirms.append(one)
        reader.feed(b"".join(parts))
        ((channel, read, fields, body),) = deliveries
        return (
            others == parts[3:5]
            and confirms == [(8, False)]
            and (channel, *read, body) == (3, "tag", 7, True, "e", "k", b"hello")
            and all(getattr(fields, name) == getattr(properties, name) for name in Properties._fields)
            and callable(Channel._on_deliver)  # noqa: SLF001
            and callable(SelectConnection._on_data_available)  # noqa: SLF001
            and callable(SelectConnection._on_channel_cleanup)  # noqa: SLF001
        )
    except Exception:
        return False


@lru_cache(maxsize=1)
def plain_transport() -> Any:
    """Class of pika's transports without TLS, None unless their buffers are what we take them for."""
    try:
        from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport as Plain  # noqa: PLC0415

        probe: Any = Plain(_Nothing(), _Nothing(), _Nothing())
        empty = not probe._tx_buffers  # noqa: SLF001
        probe.write(b"abc")
        buffered = list(probe._tx_buffers) == [b"abc"]  # noqa: SLF001
        active = probe._state == probe._STATE_ACTIVE  # noqa: SLF001
        return Plain if empty and buffered and active and isinstance(probe._sock, _Nothing) else None  # noqa: SLF001
    except Exception:
        return None


class _Nothing:
    """Takes every call."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: 0
