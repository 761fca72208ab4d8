"""The document of a task: Celery's in every field, read again whoever wrote it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from amqtask.errors import ContentRefused, DecodeError, EncodeError, ResultTooLarge
from amqtask.results.meta import Meta, dump, load
from amqtask.wire.codec import serializers

ALL = ("json", "msgpack", "yaml")
FULL = Meta(
    "id-1",
    "SUCCESS",
    {"sum": [1, 2.5, None]},
    children=[[["id-2", None], None]],
    date_done="2026-11-21T10:00:00+00:00",
    group_id="g",
    parent_id="p",
    name="shop.add",
    worker="w1@host",
    queue="default",
    retries=0,
    runtime=0.25,
    extra={"stamp": "x"},
)

CELERY = {
    "success": '{"status": "SUCCESS", "result": 5, "traceback": null, "children": [], '
    '"date_done": "2026-11-20T23:32:01.755260+00:00", "task_id": "095da224"}',
    "children of a group": '{"status": "SUCCESS", "result": 2, "traceback": null, "children": [[["g", null], '
    '[[["a", null], null], [["b", null], null]]]], "date_done": "2026-11-20T23:32:47.061266+00:00", "task_id": "eb06"}',
    "member": '{"status": "SUCCESS", "result": 20, "traceback": null, "children": [], '
    '"date_done": "2026-11-20T23:32:47.052599+00:00", "group_id": "g", "parent_id": "p", "task_id": "a3e6"}',
    "started, extended": '{"status": "STARTED", "result": {"pid": 16069, "hostname": "w1@host1"}, "traceback": null, '
    '"children": [], "date_done": null, "name": "tasks.add", "args": [2, 3], "kwargs": {}, "worker": "w1@host1", '
    '"retries": 0, "queue": "celery", "task_id": "e0ad"}',
    "revoked": '{"status": "REVOKED", "result": {"exc_type": "TaskRevokedError", "exc_message": ["expired"], '
    '"exc_module": "celery.exceptions"}, "traceback": null, "children": [], '
    '"date_done": "2026-11-20T23:32:12.214737+00:00", "task_id": "3e11"}',
}
"""As recorded from Celery 5.7."""


@pytest.mark.parametrize("which", CELERY)
def test_a_recorded_document_is_written_again_as_it_was(which):
    meta = load(CELERY[which].encode(), ALL)
    assert json.dumps(meta.as_dict()) == CELERY[which]


@pytest.mark.parametrize("compression", [None, "zlib", "bz2", "lzma"])
@pytest.mark.parametrize("name", ALL)
def test_a_document_says_by_itself_how_it_is_read(name, compression):
    data, content_type, encoding = dump(FULL, serializers.get(name), compression)
    assert load(data, ALL) == FULL
    assert content_type == serializers.get(name).content_type
    assert encoding == ("binary" if compression or name == "msgpack" else "utf-8")


@pytest.mark.parametrize("compression", [None, "zlib", "bz2"])
def test_celery_reads_what_we_write(compression):
    from celery import Celery

    data, _, _ = dump(FULL, serializers.get("json"), compression)
    app = Celery("x", set_as_current=False, backend="cache+memory://")
    theirs = app.backend.decode_result(data)
    assert (theirs["status"], theirs["result"], theirs["task_id"]) == ("SUCCESS", FULL.result, "id-1")


@pytest.mark.parametrize("compression", [None, "zlib", "bzip2"])
def test_we_read_what_celery_writes(compression):
    from celery import Celery
    from celery.backends.base import compress_payload

    app = Celery("x", set_as_current=False, backend="cache+memory://")
    data = app.backend.encode(app.backend._get_result_meta([1, None], "SUCCESS", None, None) | {"task_id": "t"})
    data = data if compression is None else compress_payload(data.encode(), compression)
    meta = load(data if isinstance(data, bytes) else data.encode(), ALL)
    assert (meta.task_id, meta.status, meta.result, meta.final) == ("t", "SUCCESS", [1, None], True)
    assert meta.done_at is not None
    assert meta.done_at.tzinfo is not None


def test_fields_that_say_nothing_are_not_written():
    assert Meta("t", "PENDING").as_dict() == {
        "status": "PENDING", "result": None, "traceback": None, "children": [], "date_done": None, "task_id": "t",
    }  # fmt: skip


def test_a_stamp_does_not_replace_a_fact():
    meta = load(
        dump(Meta("t", "SUCCESS", 5, extra={"result": 6, "status": "X", "mine": 7}), serializers.get("json"))[0], ALL
    )
    assert (meta.status, meta.result, meta.extra) == ("SUCCESS", 5, {"mine": 7})


def test_the_time_of_the_end_is_aware():
    assert Meta("t", "SUCCESS", date_done="2026-11-21T10:00:00").done_at == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert Meta("t", "SUCCESS", date_done="soon").done_at is None
    assert Meta("t", "STARTED").done_at is None


def test_a_serializer_that_is_not_accepted_is_refused():
    data, _, _ = dump(FULL, serializers.get("msgpack"))
    with pytest.raises(ContentRefused, match="msgpack"):
        load(data, ["json"])


def test_pickle_is_refused_unless_it_is_accepted():
    with pytest.raises(ContentRefused, match="pickle"):
        load(b"\x80\x04\x95", ["json", "msgpack"])


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"status": 5, "task_id": "x"}', b'{"status": "SUCCESS"}', b"\x81", b"\xff" * 9,
     b"a: b: c", b"\x00celery-compressed\x00", b"\x00celery-compressed\x00application/x-gzip\x00junk",
     b"\x00celery-compressed\x00unknown\x00{}"],
)  # fmt: skip
def test_what_is_no_document_is_an_error_of_ours(data):
    with pytest.raises(DecodeError):
        load(data, ALL)


def test_odd_fields_do_not_break_reading():
    odd = {"status": "SUCCESS", "task_id": "t", "children": "x", "traceback": 5, "date_done": 7, "retries": "many"}
    meta = load(json.dumps(odd).encode(), ALL)
    assert (meta.children, meta.traceback, meta.done_at) == ([], "5", None)


def test_a_result_that_can_not_be_written_names_the_task():
    class Odd:
        pass

    with pytest.raises(EncodeError, match=r"result of shop.add\[t\] can't be stored as json: .*Odd can't be written"):
        dump(Meta("t", "SUCCESS", [Odd()], name="shop.add"), serializers.get("json"))


def test_a_result_over_the_limit_is_refused():
    with pytest.raises(ResultTooLarge, match="result_max_size is 1000"):
        dump(Meta("t", "SUCCESS", "x" * 2000), serializers.get("json"), "zlib", limit=1000)
    dump(Meta("t", "SUCCESS", "x" * 500), serializers.get("json"), limit=1000)
