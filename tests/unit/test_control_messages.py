"""Requests and answers of remote control, as Celery writes them and as nobody should."""

from __future__ import annotations

import json

import pytest

from amqtask.control.messages import Names, Request, read_reply, read_request, reply_message, request_message
from amqtask.errors import AmqtaskError
from amqtask.wire.message import Properties

NAMES = Names("celery")
JSON = Properties("application/json", "utf-8", {"clock": 7, "expires": 1_795_217_722})
REPLY_TO = {"exchange": "reply.celery.pidbox", "routing_key": "oid"}


def read(document, properties=JSON):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_request(properties, body, ["json"])


def test_a_request_of_celery_is_read():
    document = {
        "method": "ping", "arguments": {}, "destination": None, "pattern": None, "matcher": None, "ticket": "t",
        "reply_to": REPLY_TO,
    }  # fmt: skip
    assert read(document) == Request(
        "ping", {}, ticket="t", reply_to=("reply.celery.pidbox", "oid"), clock=7, expires=1_795_217_722.0
    )


def test_what_is_written_is_read_again():
    request = Request("revoke", {"task_id": "a"}, ["w@h"], None, None, "t", ("reply.celery.pidbox", "oid"), 3, 9.0)
    message = request_message(NAMES, request)
    assert message.exchange == "celery.pidbox"
    assert read_request(message.properties, message.body, ["json"]) == request


def test_no_header_holds_a_float():
    message = request_message(NAMES, Request("ping", expires=1.5))
    assert message.properties.headers == {"clock": 0, "expires": 1}


@pytest.mark.parametrize(
    "document",
    [
        b"", b"\xff\x00", b"[1]", b"null", b"{", b"[" * 100_000, {"method": 5}, {"arguments": {}},
        {"method": "ping", "arguments": [1]}, {"method": "ping", "destination": "w@h"},
        {"method": "ping", "destination": [1]}, {"method": "ping", "reply_to": "here"},
        {"method": "ping", "reply_to": {"exchange": 1, "routing_key": "x"}}, {"method": ["ping"]},
    ],
    ids=repr,
)  # fmt: skip
def test_garbage_is_refused(document):
    with pytest.raises(AmqtaskError):
        read(document)


def test_pickle_is_refused_even_where_tasks_may_have_it():
    with pytest.raises(AmqtaskError, match="not accepted"):
        read_request(Properties("application/x-python-serialize", "binary"), b"", ["json", "pickle"])


def test_odd_headers_say_nothing():
    odd = Properties("application/json", "utf-8", {"clock": "x", "expires": [1]})
    assert read({"method": "ping"}, odd) == Request("ping")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request("m"), True),
        (Request("m", destination=["w1@h"]), True),
        (Request("m", destination=[]), False),
        (Request("m", destination=["w2@h"], pattern="w*", matcher="glob"), False),
        (Request("m", pattern="w*@h", matcher="glob"), True),
        (Request("m", pattern="x*", matcher="glob"), False),
        (Request("m", pattern="w[0-9]@", matcher="pcre"), True),
        (Request("m", pattern="(w1|w2)@h.*", matcher="pcre"), True),
        (Request("m", pattern="(", matcher="pcre"), False),
        (Request("m", pattern="(.|.)*!", matcher="pcre"), False),
        (Request("m", pattern=".*.*.*.*.*!", matcher="pcre"), False),
        (Request("m", pattern="w*", matcher="no such"), False),
        (Request("m", pattern="x" * 5000, matcher="glob"), False),
        (Request("m", pattern="x"), True),
    ],
)
def test_a_request_is_for_whom_it_names(request_, expected):
    assert request_.is_for("w1@h") is expected


def test_an_answer_goes_where_the_request_says():
    message = reply_message(Request("ping", ticket="t", reply_to=("x", "k")), "w@h", {"ok": object}, 5)
    assert (message.exchange, message.routing_key) == ("x", "k")
    assert message.properties.headers == {"clock": 5, "ticket": "t"}
    assert message.properties.delivery_mode == 1
    assert read_reply(message.properties, message.body, ["json"]) == {"w@h": {"ok": "<class 'object'>"}}


def test_queues_are_declared_as_celery_declares_them():
    queue, bind = NAMES.mailbox("w1@h")
    assert (queue.name, queue.exclusive, queue.auto_delete, queue.durable) == ("w1@h.celery.pidbox", True, True, False)
    assert queue.arguments == {"x-expires": 10_000, "x-message-ttl": 300_000}
    assert (bind.exchange, bind.routing_key) == ("celery.pidbox", "")
    queue, bind = NAMES.reply_queue("oid")
    assert (queue.name, bind.exchange, bind.routing_key) == ("oid.reply.celery.pidbox", "reply.celery.pidbox", "oid")
