"""The dev broker's own frame codec says the same as pamqp's, in whatever pieces bytes arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame, header
from pamqp.commands import Basic

from amqtask.testing.devbroker.engine.errors import ConnectionFault
from amqtask.testing.devbroker.protocol import frames

SHORT = st.text(max_size=60)
PROPERTIES = header.ContentHeader(0, 5, Basic.Properties(content_type="text/plain", headers={"n": 2**40})).marshal()


def unframed(data: bytes) -> list[tuple[int, int, bytes]]:
    return list(frames.Parser(131_072).feed(data))


def methods(data: bytes) -> list[frame.FrameTypes]:
    found = []
    while data:
        size, _, method = frame.unmarshal(data)
        found.append(method)
        data = data[size:]
    return found


@given(bodies=st.lists(st.binary(max_size=40), max_size=6), cuts=st.lists(st.integers(0, 300), max_size=8))
def test_frames_are_the_same_in_whatever_pieces_they_come(bodies: list[bytes], cuts: list[int]):
    data = b"".join(frames.frame(frames.BODY, number, body) for number, body in enumerate(bodies))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parser = frames.Parser(131_072)
    found = [part for start, end in pairwise(places) for part in parser.feed(data[start:end])]
    assert found == [(frames.BODY, number, body) for number, body in enumerate(bodies)]


def test_frames_before_a_wrong_one_are_taken():
    wrong = frames.frame(frames.BODY, 1, b"bad")[:-1] + b"\x00"
    found = frames.Parser(131_072).feed(frames.frame(frames.BODY, 1, b"good") + wrong)
    assert next(found) == (frames.BODY, 1, b"good")
    with pytest.raises(ConnectionFault, match="invalid_frame_end_marker"):
        next(found)


def test_a_frame_too_large_is_refused_before_it_has_come():
    with pytest.raises(ConnectionFault, match=r"frame_too_large,8185,8184"):
        list(frames.Parser(8192).feed(frames.frame(frames.BODY, 1, b"x" * 8185)[:8]))
    assert unframed(frames.frame(frames.BODY, 1, b"x" * 8184))


def test_the_limit_may_change_between_two_frames():
    parser = frames.Parser(8192)
    found = parser.feed(frames.frame(frames.BODY, 1, b"") + frames.frame(frames.BODY, 1, b"x" * 9000))
    next(found)
    parser.frame_max = 16_384
    assert len(next(found)[2]) == 9000


@given(exchange=SHORT, routing_key=SHORT, mandatory=st.booleans(), immediate=st.booleans())
def test_a_publish_is_read_as_pamqp_writes_it(exchange: str, routing_key: str, mandatory: bool, immediate: bool):
    method = Basic.Publish(0, "", routing_key, mandatory, immediate)
    method.exchange = exchange
    method.validate = lambda: None  # type: ignore[method-assign] # its alphabet for names is smaller than RabbitMQ's
    payload = Basic.Publish.index.to_bytes(4) + method.marshal()
    assert frames.read_publish(payload) == (exchange, routing_key, mandatory, immediate)


@given(tag=st.integers(0, 2**63 - 1), multiple=st.booleans())
def test_an_ack_is_read_as_pamqp_writes_it(tag: int, multiple: bool):
    [(_, _, payload)] = unframed(frame.marshal(Basic.Ack(tag, multiple), 1))
    assert frames.read_ack(payload) == (tag, multiple)


@pytest.mark.parametrize("read", [frames.read_publish, frames.read_ack, frames.read_method])
@pytest.mark.parametrize("method", [Basic.Publish(0, "x", "key"), Basic.Ack(7), commands.Queue.Declare(0, "q")])
def test_a_method_that_ends_anywhere_too_early_is_refused(read, method):
    [(_, _, payload)] = unframed(frame.marshal(method, 1))
    if read is not frames.read_method and read.__name__[5:] not in method.name.lower():
        return
    for end in range(4, len(payload) - 1):
        with pytest.raises(ConnectionFault, match="FRAME_ERROR"):
            read(payload[:end])


@given(tag=st.text("abc.-", max_size=20), number=st.integers(1, 2**40), redelivered=st.booleans(), key=SHORT)
def test_a_delivery_is_written_as_pamqp_reads_it(tag: str, number: int, redelivered: bool, key: str):
    written = frames.deliver(3, frames.deliver_prefix(tag), number, redelivered, frames.address("amq.topic", key))
    [method] = methods(written)
    assert isinstance(method, Basic.Deliver)
    assert dict(method) == {
        "consumer_tag": tag,
        "delivery_tag": number,
        "redelivered": redelivered,
        "exchange": "amq.topic",
        "routing_key": key,
    }


def test_get_ok_return_and_confirms_are_written_as_pamqp_reads_them():
    place = frames.address("x", "k")
    got, returned, ack, nack = methods(
        frames.get_ok(1, 9, True, place, 4)
        + frames.basic_return(1, 312, "NO_ROUTE", place)
        + frames.confirm(1, 5, multiple=True)
        + frames.confirm(1, 6, accepted=False)
    )
    assert dict(got) == dict(Basic.GetOk(9, True, "x", "k", 4))
    assert dict(returned) == dict(Basic.Return(312, "NO_ROUTE", "x", "k"))
    assert dict(ack) == dict(Basic.Ack(5, True))
    assert dict(nack) == dict(Basic.Nack(6, False, False))


@pytest.mark.parametrize("size", [0, 1, 92, 93, 184, 185])
def test_a_body_is_split_at_the_frame_limit_and_an_empty_one_has_no_frame(size: int):
    written = unframed(frames.content(2, PROPERTIES, b"x" * size, frame_max=100))
    assert written[0] == (frames.HEADER, 2, PROPERTIES)
    assert [len(payload) for _, _, payload in written[1:]] == [92] * (size // 92) + [size % 92] * (size % 92 > 0)


def test_a_queue_may_have_any_name():
    [method] = methods(frames.method(1, frames.DeclareOk("{tenant}/späm*", 1, 2)))
    assert (method.queue, method.message_count, method.consumer_count) == ("{tenant}/späm*", 1, 2)


def test_a_long_text_is_shortened_to_what_fits():
    assert frames.shortened("ok") == "ok"
    short = frames.shortened("ä" * 200)
    assert short.endswith("...")
    assert len(short.encode()) <= 255
