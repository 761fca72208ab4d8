"""Protocol 1: bodies that are none, values that make no sense, and the retry of a message that was not upgraded."""

from __future__ import annotations

import json

import pytest

from amqtask.errors import ContentRefused, DecodeError, Retry
from amqtask.execution.job import Job
from amqtask.execution.next_attempt import changed, needs_body, next_body, next_headers
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.compression import compress
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.upgrade import upgraded

PLAIN = Properties("application/json", "utf-8", None)
CALL = {"task": "t", "id": "i", "args": [1], "kwargs": {"a": 2}}


def read(**changes):
    return decode(PLAIN, json.dumps({**CALL, **changes}).encode(), ["json"])


def test_the_least_that_is_a_task():
    assert decode(PLAIN, b'{"task": "t", "id": "i"}', ["json"]) == TaskMessage("t", "i")
    assert read(args=None, kwargs=None, group=None, taskset=None, eta=None) == TaskMessage("t", "i")


def test_the_old_name_of_a_group_is_read():
    assert read(taskset="g").group == read(group="g").group == "g"
    assert read(chord={"task": "body"}, callbacks=None).embed == {"chord": {"task": "body"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"task": None}, {"task": 7}, {"task": ""}, {"id": None}, {"id": 5}, {"args": 5}, {"args": {"a": 1}},
        {"kwargs": [1]}, {"eta": "soon"}, {"expires": 5}, {"retries": "many"}, {"timelimit": 3}, {"group": {}},
        {"taskset": 4}, {"group_index": "x"}, {"retries": 1e400},
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_decode_errors_and_are_left_alone(changes):
    body = json.dumps({**CALL, **changes}).encode()
    with pytest.raises(DecodeError):
        decode(PLAIN, body, ["json"])
    assert upgraded(PLAIN, body, ["json"]) is None


@pytest.mark.parametrize("body", [b"", b"7", b'"task"', b"[]", b"[[1],{},{}]", b"{}", b"[" * 100_000])
def test_other_bodies_without_headers_are_decode_errors_and_are_left_alone(body):
    with pytest.raises(DecodeError):
        decode(PLAIN, body, ["json"])
    assert upgraded(PLAIN, body, ["json"]) is None


@pytest.mark.parametrize("content_type", [None, "", "text/plain", b"\xff"])
def test_a_message_that_nothing_makes_a_task_is_a_decode_error(content_type):
    with pytest.raises(DecodeError, match="no header 'task', and content type .* is not accepted"):
        decode(Properties(content_type), b"hello", ["json"])


def test_a_format_of_protocol_1_that_is_not_accepted_is_refused():
    with pytest.raises(ContentRefused):
        decode(Properties("application/x-python-serialize"), b"hello", ["json"])


def test_messages_of_protocol_2_are_left_alone():
    assert upgraded(*encode(TaskMessage("t", "i"), serializer=serializers.get("json")), ["json"]) is None


def test_an_upgraded_message_keeps_its_properties():
    body = json.dumps({**CALL, "retries": 2}).encode()
    sent = PLAIN._replace(headers={"mine": 1}, priority=4, reply_to="q", message_id="m", correlation_id="i")
    properties, made = upgraded(sent, body, ["json"])
    assert properties == sent._replace(headers={"task": "t", "id": "i", "retries": 2, "mine": 1})
    message = decode(properties, made, ["json"])
    assert (message.args, message.kwargs, message.headers) == ((1,), {"a": 2}, {"mine": 1})


def test_a_retry_of_protocol_1_is_protocol_2():
    body = json.dumps({**CALL, "group": "g", "timelimit": [5, None]}).encode()
    job = Job(1, "q", "", "q", False, 0, "application/json", "utf-8", "i", None, None, None, {"mine": 1}, body)
    message = decode(job, body, ["json"])
    error = Retry(args=(7,))
    assert needs_body(job, error)
    assert needs_body(job, ValueError())
    headers = changed(job.headers, next_headers(message, 0, job.headers))
    assert headers.pop("x-amqtask-first-time")
    again = decode(PLAIN._replace(headers=headers), next_body(job, message, error, ["json"]), ["json"])
    assert (again.args, again.retries, again.group, again.timelimit) == ((7,), 1, "g", (5.0, None))
    assert (again.task, again.id, again.parent_id, again.headers) == ("t", "i", "i", {"mine": 1})


def test_a_retry_of_protocol_2_keeps_its_body():
    properties, body = encode(TaskMessage("t", "i"), serializer=serializers.get("json"))
    job = Job.of(1, "q", Job(1, "q", "", "q", False, 0, *[None] * 6, {}, body), properties, properties.headers)
    assert not needs_body(job, ValueError())
    assert not needs_body(job, Retry())
    assert needs_body(job, Retry(kwargs={}))
    assert "task" not in next_headers(decode(job, body, ["json"]), 0, job.headers)


@pytest.mark.parametrize("compression", [{}, [], 0, False, "", None])
def test_a_compression_that_says_nothing_is_none(compression):
    sent = PLAIN._replace(headers={"compression": compression})
    properties, made = upgraded(sent, json.dumps(CALL).encode(), ["json"])
    assert "compression" not in properties.headers
    assert decode(properties, made, ["json"]).args == (1,)


@pytest.mark.parametrize("compression", [{1: 2}, [1], 7, True, "lzma", "x" * 300])
def test_a_compression_that_can_not_be_undone_is_left_to_the_pool(compression):
    body = compress(json.dumps(CALL).encode(), "zlib")[0]
    sent = PLAIN._replace(headers={"compression": compression})
    assert upgraded(sent, body, ["json"]) is None


@pytest.mark.parametrize("name", ["zlib", "bz2", "lzma"])
def test_what_is_small_when_unpacked_is_upgraded(name):
    """Else its time limit would not hold, and nobody could revoke it."""
    body, header = compress(json.dumps({**CALL, "timelimit": [5, None]}).encode(), name)
    properties, made = upgraded(PLAIN._replace(headers={"compression": header}), body, ["json"])
    message = decode(properties, made, ["json"])
    assert properties.headers.items() >= {"task": "t", "id": "i"}.items()
    assert "compression" not in properties.headers
    assert (message.args, message.timelimit) == ((1,), (5.0, None))


def test_what_is_large_is_left_to_the_pool():
    body = json.dumps({**CALL, "args": ["x" * 300_000]}).encode()
    assert upgraded(PLAIN, body, ["json"]) is None
    assert len(decode(PLAIN, body, ["json"]).args[0]) == 300_000
    packed = PLAIN._replace(headers={"compression": "zlib"})
    assert upgraded(packed, compress(body, "zlib")[0], ["json"]) is None


class Odd:
    """A serializer of somebody else's that goes wrong when it writes."""

    name, content_type, content_encoding = "odd", "application/x-odd", "binary"

    def loads(self, _body):
        return CALL

    def dumps(self, _value):
        raise OSError("no room")


def test_an_upgrade_that_goes_wrong_in_any_way_is_none(monkeypatch):
    monkeypatch.setitem(serializers._loaded, "odd", Odd())
    assert upgraded(PLAIN._replace(content_type="application/x-odd"), b"x", ["odd"]) is None
