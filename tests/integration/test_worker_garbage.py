"""Messages that nobody can run, and tasks that raise what nobody expects: each is one dead letter with a reason."""

from __future__ import annotations

import contextlib
import json
import pickle
import zlib
from itertools import count
from typing import TYPE_CHECKING

import msgpack
import pika
import pytest
from pool_app import HOSTILE
from raw_properties import Raw
from worker_process import new_site

from amqtask.wire.message import Properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node
    from worker_process import Site

pytestmark = pytest.mark.rabbitmq

GOOD = json.dumps([["x"], {}, {}]).encode()
OLD = json.dumps({"task": "note", "id": "old", "args": ["x"]}).encode()
BOMB = zlib.compress(b" " * 300_000_000, 9)
RANDOM = bytes(range(256)) * 3
LARGE = 126_400
"""Bytes of a header that a message can carry, and a dead letter with its reason beside it can not."""

_numbers = count()


@pytest.fixture(scope="module", params=["prefork", "threads"])
def shared(request, broker_node: Node, tmp_path_factory) -> Iterator[Site]:
    """A site with one worker for the tests of this file."""
    with new_site(broker_node, tmp_path_factory.mktemp("garbage")) as site:
        worker = site.worker("-P", request.param, "-c", "2")
        yield site
        assert worker.stop() == 0
        assert site.ready("work") == 0
        assert "CRITICAL" not in worker.text()


@pytest.fixture
def site(shared) -> Iterator[Site]:
    """That site without dead letters; afterwards the worker has to go on working."""
    yield shared
    shared.admin.purge("work.dead")
    label = f"alive{next(_numbers)}"
    shared.send("note", label)
    shared.wait_done(label)
    assert shared.ready("work.dead") == 0


def properties(*, content_type: str | None = "application/json", **headers: object) -> Properties:
    table = {"task": "note", "id": "garbage", **headers}
    return Properties(content_type, "utf-8", headers={key: value for key, value in table.items() if value is not None})


def nested(depth: int) -> bytes:
    """An AMQP table in a table in a table."""
    value = b"V"
    for _ in range(depth):
        value = b"F" + (len(value) + 2).to_bytes(4) + b"\x01k" + value
    return value


def sets(levels: int) -> bytes:
    """A set in a set in a set, as msgpack."""
    value = b"\x01"
    for _ in range(levels):
        value = msgpack.packb(msgpack.ExtType(42, b"\x92\xa9frozenset\x91" + value))
    return b"\x93\x91" + value + b"\x80\x80"


def put_raw(site: Site, flags: int, data: bytes) -> None:
    """Publish a message with these property flags and bytes."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(site.url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "work", b"body", Raw(flags, data), mandatory=True)


def carrying(**embed: object) -> bytes:
    """A call of ``note`` with these things to follow."""
    return json.dumps([["never"], {}, embed]).encode()


STRANGE_EMBEDS: dict[str, dict[str, object]] = {
    "a step is a text": {"chain": ["x"]},
    "options are a list": {"chain": [{"task": "note", "options": [1]}]},
    "a chain without steps": {
        "chain": [{"task": "celery.chain", "subtask_type": "chain", "options": {}, "kwargs": None}]
    },
    "an errback is a text": {"errbacks": ["x"]},
    "an answer goes to a number": {"chain": [{"task": "note", "options": {"task_id": "x", "reply_to": 5}}]},
    "an id is a map": {"chain": [{"task": "note", "options": {"task_id": {"a": 1}}}]},
    "a chord is a number": {"chord": 5},
}

UNREADABLE = {
    "empty body": (b"", properties()),
    "random bytes as json": (RANDOM, properties()),
    "random bytes as msgpack": (RANDOM, properties(content_type="application/x-msgpack")),
    "no properties at all": (b"hello", Properties()),
    "no headers": (GOOD, Properties("application/json")),
    "no task": (GOOD, properties(task=None)),
    "no id": (GOOD, properties(id=None)),
    "task is a number": (GOOD, properties(task=7)),
    "task is a list": (GOOD, properties(task=["note"])),
    "task is nested": (GOOD, properties(task={"a": [{"b": None}]})),
    "id is a map": (GOOD, properties(id={"a": 1})),
    "retries is a text": (GOOD, properties(retries="many")),
    "retries is a list": (GOOD, properties(retries=[1])),
    "eta is a number": (GOOD, properties(eta=42)),
    "expires is no time": (GOOD, properties(expires="tomorrow")),
    "timelimit is a number": (GOOD, properties(timelimit=5)),
    "two elements": (b"[[], {}]", properties()),
    "four elements": (b"[[], {}, {}, {}]", properties()),
    "an object": (b'{"args": []}', properties()),
    "args is a text": (b'["x", {}, {}]', properties()),
    "kwargs is a list": (b"[[], [], {}]", properties()),
    "unknown compression": (GOOD, properties(compression="application/x-magic")),
    "compression is a number": (GOOD, properties(compression=3)),
    "not compressed at all": (GOOD, properties(compression="zlib")),
    "decompression bomb": (BOMB, properties(compression="application/x-gzip")),
    "deep nesting": (b"[" * 100_000, properties()),
    "deep sets": (sets(2000), properties(content_type="application/x-msgpack")),
    "deep sets without a task": (sets(2000), properties(content_type="application/x-msgpack", task=None)),
    "protocol 1 whose compression is a table": (OLD, properties(task=None, id=None, compression={"a": 1})),
    "a bomb of empty lists": (zlib.compress(b"[" + b"[]," * 6_000_000), properties(compression="zlib")),
    "a bomb without a task": (BOMB, properties(task=None, id=None, compression="zlib")),
    "a task's name that fills the headers": (b"", properties(task="x" * LARGE)),
    "an id that fills the headers": (b"", properties(id="x" * LARGE)),
    "a language that fills the headers": (b"", properties(lang="x" * LARGE)),
    "strange failure headers": (
        b"",
        properties(**{"x-amqtask-lost": "many", "x-amqtask-parked": [1], "x-amqtask-first-time": 5}),
    ),
    **{f"embed: {name}": (carrying(**embed), properties()) for name, embed in STRANGE_EMBEDS.items()},
    "strange x-death": (b"", properties(**{"x-death": "yesterday", "x-delivery-count": "no"})),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_message_that_can_t_be_read_is_dead_with_its_body_as_it_was(site, case):
    body, sent = UNREADABLE[case]
    site.put("work", body, sent)
    (dead,) = site.wait_dead(1)
    expected = "refused_content" if sent.content_type is None and sent.headers else "undecodable"
    assert dead.reason == expected
    assert dead.body == body
    assert dead.message
    assert site.events(label="never") == []


WIRE = {
    "a time in the far future": b"\x01hT" + b"\xff" * 8,
    "a time in a list": b"\x01hA" + (9).to_bytes(4) + b"T" + b"\xff" * 8,
    "a name that is no UTF-8": b"\x02\xff\xfeS" + (0).to_bytes(4),
    "a text that is no UTF-8": b"\x01hS" + (2).to_bytes(4) + b"\xff\xfe",
    "the same header twice": b"\x01hV\x01ht\x01",
    "deep tables": b"\x01h" + nested(400),
}


@pytest.mark.parametrize("case", WIRE)
def test_headers_that_other_clients_may_send_do_no_harm(site, case):
    put_raw(site, 1 << 13, len(WIRE[case]).to_bytes(4) + WIRE[case])
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.body) == ("undecodable", b"body")


def test_properties_that_are_no_text_do_no_harm(site):
    flags = sum(1 << bit for bit in (15, 14, 10, 9, 7, 6, 5, 3))
    texts = b"".join(b"\xff" + b"\xfe" * 255 for _ in range(5))
    put_raw(site, flags, texts + b"\xff" * 8 + b"\x02\xff\xfe" * 2)
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.body) == ("undecodable", b"body")


def test_a_retry_whose_headers_would_be_too_large_is_a_dead_letter(site):
    task_id = site.send("again", "too large", 1, 0.1, headers={"x-big": "x" * (LARGE + 250)})
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.id) == ("unsendable", task_id)
    assert "headers take" in (dead.message or "")


def test_a_task_that_sends_too_much_gets_an_error_and_nothing_else_happens(site):
    site.send("sends_too_much", "bytes", 17_000_000, 0)
    site.send("sends_too_much", "headers", 0, 200_000)
    site.wait_done("bytes: MessageTooLarge", "headers: MessageTooLarge")


def test_a_message_of_a_refused_content_type_is_never_unpickled(site):
    body = pickle.dumps(([], {}, {}))
    site.put("work", body, properties(content_type="application/x-python-serialize"))
    (dead,) = site.wait_dead(1)
    assert dead.reason == "refused_content"
    assert "application/x-python-serialize" in (dead.message or "")
    assert dead.body == body


def test_headers_that_leave_no_room_for_the_reason_are_left_out_of_the_dead_letter(site):
    site.put("work", b"\xff", properties(**{"x-big": "x" * LARGE, "x-small": 1}))
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.body, dead.id) == ("undecodable", b"\xff", "garbage")
    assert "x-big" not in dead.headers


def test_a_failed_task_with_large_headers_is_dead_with_its_error(site):
    site.send("fail", "large", headers={"x-big": "x" * LARGE})
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.exception) == ("failed", "ValueError")
    assert dead.call(("msgpack",)) == (("large",), {})


def test_whatever_a_task_raises_is_one_dead_letter(site):
    ids = {site.send("hostile", which): which for which in HOSTILE}
    dead = site.wait_dead(len(ids))
    assert sorted(ids[one.id] for one in dead) == sorted(HOSTILE)
    assert {one.reason for one in dead} == {"failed"}


def test_arguments_that_do_not_fit_are_one_dead_letter(site):
    site.put("work", b"[[1, 2, 3], {}, {}]", properties())
    (dead,) = site.wait_dead(1)
    assert (dead.reason, dead.exception) == ("failed", "TypeError")
