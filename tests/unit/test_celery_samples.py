"""Everything that real Celery 5.7 clients and workers were seen to publish is read, or refused with a reason."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from amqtask.errors import ContentRefused, DecodeError
from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.compression import compress
from amqtask.wire.message import Properties
from amqtask.wire.upgrade import upgraded

DATA = Path(__file__).parents[1] / "data/celery_wire"
MESSAGES = json.loads((DATA / "tasks.json").read_text())["messages"]
TOLERANCE = json.loads((DATA / "tolerance.json").read_text())["to_worker"]
ALL = ("json", "msgpack", "yaml", "pickle")


def received(record):
    body = record["body"].encode() if "body" in record else b64decode(record["body_b64"])
    return Properties(**record["properties"], headers=record["headers"]), body


def tasks(sample=None):
    found = [record for record in MESSAGES if record["kind"] == "task"]
    return [record for record in found if sample in (None, record["sample"])]


def label(record):
    return f"{record['sample']}-{record['from']}"


@pytest.mark.parametrize("record", tasks(), ids=label)
def test_every_recorded_task_is_read(record):
    message = decode(*received(record), ALL)
    headers = record["headers"] or json.loads(record["body"])
    assert (message.task, message.id, message.retries) == (headers["task"], headers["id"], headers["retries"])
    assert (message.group, message.group_index) == (headers["group"], headers["group_index"])
    for name in ("eta", "expires"):
        read, said = getattr(message, name), headers[name]
        assert (read is None) == (said is None)
        if said is not None:
            assert read.isoformat() in (said, f"{said}+00:00")


@pytest.mark.parametrize("record", [item for item in MESSAGES if item["kind"] != "task"], ids=label)
def test_every_other_recorded_message_is_a_decode_error(record):
    with pytest.raises(DecodeError):
        decode(*received(record), ALL)


def test_the_recorded_formats_are_refused_where_they_are_not_accepted():
    for serializer in ("pickle", "yaml", "msgpack"):
        (record,) = tasks(f"serializer_{serializer}")
        with pytest.raises(ContentRefused):
            decode(*received(record), ["json"])


@pytest.mark.parametrize("serializer", ALL)
def test_the_same_call_is_read_from_every_format(serializer):
    (record,) = tasks(f"serializer_{serializer}")
    message = decode(*received(record), ALL)
    assert (message.args, message.kwargs) == ((1, "é", [1.5, None, True]), {"k": {"a": 1}})


@pytest.mark.parametrize("name", ["zlib", "bzip2", "gzip", "lzma", "zstd"])
def test_the_same_call_is_read_from_every_compression(name):
    (record,) = tasks(f"compression_{name}")
    assert decode(*received(record), ALL).args == (1, 1)


def test_the_recorded_rich_types_are_values():
    (record,) = tasks("json_types")
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert decode(*received(record), ALL).args == (when, date(2026, 1, 2), UUID(int=5), Decimal("1.5"), b"bin\xff")


def test_stamps_limits_names_and_the_callers_headers_are_read():
    (stamped,) = tasks("stamps")
    message = decode(*received(stamped), ALL)
    assert message.stamped_headers == ("monitoring_id", "tenant")
    assert message.stamps == {"monitoring_id": "mon-1", "tenant": ["a", "b"]}
    assert decode(*received(tasks("time_limits")[0]), ALL).timelimit == (30.0, 20.0)
    assert decode(*received(tasks("shadow")[0]), ALL).shadow == "shadow.name"
    assert decode(*received(tasks("custom_headers")[0]), ALL).headers == {"x-tenant": "acme", "n": 5}
    assert decode(*received(tasks("replace_task")[1]), ALL).replaced_task_nesting == 1
    chain = decode(*received(tasks("chain3")[0]), ALL).embed["chain"]
    assert [step["args"] for step in chain] == [[4], [3]]


def test_naive_times_are_utc_as_for_celerys_workers_whatever_their_zone():
    from zoneinfo import ZoneInfo

    from celery.utils.time import maybe_make_aware

    (record,) = tasks("eta_naive")
    naive = datetime.fromisoformat(record["headers"]["eta"])
    assert naive.tzinfo is None
    assert decode(*received(record), ALL).eta == maybe_make_aware(naive, ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize("record", [item for item in tasks() if item["headers"]], ids=label)
def test_what_we_send_to_celery_has_the_headers_and_the_body_of_what_it_sends(record):
    properties, body = received(record)
    serializer = next(item for item in map(serializers.get, ALL) if item.content_type == properties.content_type)
    compression = properties.headers.get("compression")
    message = decode(properties, body, ALL)
    made, written = encode(
        message, serializer=serializer, compression=compression, reply_to=properties.reply_to,
        priority=properties.priority, expiration=properties.expiration, celery=True,
    )  # fmt: skip
    assert made.headers["origin"].startswith("gen")
    words = {"origin", "argsrepr", "kwargsrepr", "eta"}  # a naive eta gets its offset
    assert {**properties.headers, **dict.fromkeys(words)} == {**made.headers, **dict.fromkeys(words)}
    assert made == properties._replace(headers=made.headers, message_id=message.id)
    mine = decode(made, written, ALL)
    assert (mine.args, mine.kwargs) == (message.args, message.kwargs)
    assert mine.embed.keys() == {"callbacks", "errbacks", "chain", "chord"}
    assert mine.embed == message.embed


@pytest.mark.parametrize("sample", ["delay", "kwargs_taskid", "serializer_json", "json_types", "stamps", "group3"])
def test_arguments_are_shown_as_celery_shows_them(sample):
    for record in tasks(sample):
        made, _ = encode(decode(*received(record), ALL), serializer=serializers.get("json"), celery=True)
        for name in ("argsrepr", "kwargsrepr"):
            shown = record["headers"][name].replace("b'62696eff'", r"b'bin\xff'")  # Celery shows bytes as hex
            assert made.headers[name] == shown


def test_the_recorded_protocol_1_message_becomes_protocol_2():
    (record,) = tasks("protocol1")
    properties, body = received(record)
    made, written = upgraded(properties, body, ALL)
    assert made.headers == {"task": "tasks.add", "id": properties.correlation_id}
    assert made._replace(headers={}, message_id=None) == properties._replace(message_id=None)
    assert decode(made, written, ALL) == decode(properties, body, ALL)


READ = {
    "task and id headers only", "no correlation_id", "embed {}", "embed null", "no content_encoding", "lang go",
    "no headers, protocol 1 dict body", "eta in the past without offset, expires in the future",
    "expires in the past", "compression header", "ignore_result true with reply_to", "group header",
}  # fmt: skip


@pytest.mark.parametrize("case", TOLERANCE, ids=lambda case: case["name"])
def test_damaged_messages_are_read_where_celery_reads_them_and_refused_where_it_dies(case):
    body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])
    body = body.encode()
    if case["name"] == "compression header":
        body = compress(b'[[1,2],{},{"chord":null}]', "gzip")[0]
    types = {"no content_type": None, "content_type application/x-foo": "application/x-foo"}
    properties = Properties(types.get(case["name"], "application/json"), "utf-8", case["headers"])
    if case["name"] in READ:
        message = decode(properties, body, ALL)
        assert (message.task, message.args) == ("tasks.add", (1, 2))
    else:
        with pytest.raises((DecodeError, ContentRefused)):
            decode(properties, body, ALL)
        assert upgraded(properties, body, ALL) is None


def test_every_damaged_message_that_runs_at_celery_is_in_the_list_above():
    ran = {case["name"] for case in TOLERANCE if case["outcome"].startswith(("SUCCESS", "runs", "REVOKED"))}
    assert ran == READ
