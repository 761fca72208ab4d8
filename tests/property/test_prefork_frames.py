"""The stream between parent and child, whatever the chunks it arrives in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.worker.pools.prefork.frames import FrameReader, FrameWriter, ProtocolError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(2**64, 2**80)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=300)
    | st.datetimes(timezones=st.just(UTC))
    | st.decimals(allow_nan=False)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(st.lists(values, min_size=1, max_size=4), max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_frames_are_the_same_however_the_stream_is_cut(frames: list[list[Any]], cuts: list[int]) -> None:
    writer, reader = FrameWriter(), FrameReader()
    stream = b"".join(writer.frame(*frame) for frame in frames)
    read: list[list[Any]] = []
    turn = 0
    while stream:
        cut = cuts[turn % len(cuts)]
        read += reader.feed(stream[:cut])
        stream = stream[cut:]
        turn += 1
    assert read == frames


@given(st.binary(min_size=5, max_size=200))
def test_garbage_is_a_protocol_error_or_an_incomplete_frame(data: bytes) -> None:
    reader = FrameReader()
    try:
        frames = reader.feed(data)
    except ProtocolError:
        return
    assert all(isinstance(frame, list) for frame in frames)


def test_length_beyond_reason_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="a frame of"):
        FrameReader().feed(b"\xff\xff\xff\xff")


def test_large_frame_in_small_chunks_arrives_whole() -> None:
    body = bytes(3_000_000)
    stream = FrameWriter().frame(0, body, Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC))
    reader = FrameReader()
    frames = [frame for start in range(0, len(stream), 65_536) for frame in reader.feed(stream[start : start + 65_536])]
    assert frames == [[0, body, Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC)]]
