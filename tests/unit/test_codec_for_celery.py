"""What Celery's own code makes of our messages: its Request and kombu's decoding, without a broker."""

from __future__ import annotations

import pickle
import warnings
from datetime import UTC, datetime

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other people's imports
    from celery import Celery
    from celery.worker.request import Request
    from kombu.message import Message

from amqtask.wire.codec import decode, encode, serializers
from amqtask.wire.message import Properties, TaskMessage
from amqtask.wire.upgrade import upgraded

ALL = ("json", "msgpack", "yaml", "pickle")
FULL = TaskMessage(
    "tasks.add",
    "8a6e7b0e-0000-4000-8000-000000000001",
    (1, "zwei"),
    {"drei": [4.5, None]},
    {"chain": [{"task": "tasks.mul", "args": [2], "kwargs": {}, "options": {}, "subtask_type": None}]},
    2,
    datetime(2030, 1, 2, tzinfo=UTC),
    datetime(2031, 1, 3, tzinfo=UTC),
    "root",
    "parent",
    "group",
    0,
    (29.5, 2.0),
    True,
    "alias",
    {"mine": 1},
    {"tenant": ["a", "b"], "rate": 0.5},
    ("tenant", "rate"),
    3,
)


@pytest.fixture(scope="module")
def celery():
    app = Celery("reader", broker="memory://", set_as_current=False)

    @app.task(name="tasks.add", shared=False)
    def add(*args, **kwargs):
        return args, kwargs

    yield app
    app.close()


def read_by_celery(celery, properties, body):
    said = {"correlation_id": properties.correlation_id, "reply_to": properties.reply_to}
    message = Message(
        body=body,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        properties=said,
        headers=dict(properties.headers),
        delivery_info={"exchange": "", "routing_key": "celery"},
        accept={serializers.get(name).content_type for name in ALL},
    )
    return Request(message, app=celery, task=celery.tasks["tasks.add"]), message.payload


@pytest.mark.parametrize("celery_headers", [True, False])
@pytest.mark.parametrize("compression", [None, "zlib", "bz2", "lzma", "zstd"])
@pytest.mark.parametrize("serializer", ALL)
def test_a_celery_worker_reads_what_we_write(celery, serializer, compression, celery_headers):
    properties, body = encode(
        FULL, serializer=serializers.get(serializer), compression=compression, reply_to="q", celery=celery_headers
    )
    request, (args, kwargs, embed) = read_by_celery(celery, properties, body)
    assert (list(args), kwargs) == ([1, "zwei"], {"drei": [4.5, None]})
    assert embed["chain"] == FULL.embed["chain"]
    assert (request.id, request.name, request.type) == (FULL.id, "alias", "tasks.add")
    assert (request.eta, request.expires) == (FULL.eta, FULL.expires)
    assert (request.root_id, request.parent_id, request.group, request.group_index) == ("root", "parent", "group", 0)
    assert (request.reply_to, request.correlation_id, request.ignore_result) == ("q", FULL.id, True)
    assert request.stamps == {"tenant": ["a", "b"], "rate": "0.5"}
    assert request.stamped_headers == ["tenant", "rate"]
    assert request.replaced_task_nesting == 3
    assert request.time_limits == ([30, 2] if celery_headers else ["29.5", 2])


@pytest.mark.parametrize(
    ("limit", "for_celery", "lean"), [(0.2, 1, "0.2"), (30.0, 30, 30), (7, 7, 7), (float("inf"), None, "inf")]
)
def test_limits_for_celery_are_whole_numbers_and_none_becomes_zero(limit, for_celery, lean):
    message = TaskMessage("tasks.add", "i", timelimit=(limit, None))
    made, body = encode(message, serializer=serializers.get("json"), celery=True)
    assert made.headers["timelimit"] == [for_celery, None]
    made, body = encode(message, serializer=serializers.get("json"))
    assert made.headers["timelimit"] == [lean, None]
    assert decode(made, body, ["json"]).timelimit == (limit, None)


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_protocol_1_as_celery_writes_it_is_read_and_upgraded(celery, serializer):
    eta = datetime(2030, 1, 2, tzinfo=UTC)
    sent = celery.amqp.as_task_v1(
        "an id", "tasks.add", [1], {"b": 2}, eta=eta, group_id="g", group_index=4, retries=3, time_limit=9,
        callbacks=[{"task": "tasks.mul"}],
    )  # fmt: skip
    writer = serializers.get(serializer)
    properties = Properties(writer.content_type, writer.content_encoding, {"x-mine": 1}, correlation_id="an id")
    message = decode(properties, writer.dumps(sent.body), ALL)
    assert message == TaskMessage(
        "tasks.add", "an id", (1,), {"b": 2}, {"callbacks": [{"task": "tasks.mul"}]}, 3, eta, None, None, None, "g", 4,
        (9.0, None), headers={"x-mine": 1},
    )  # fmt: skip
    made = upgraded(properties, writer.dumps(sent.body), ALL)
    if serializer == "pickle":
        assert made is None, "pickle is not for the thread that receives"
        return
    assert decode(*made, ALL) == message
    request, _ = read_by_celery(celery, *made)
    assert (request.id, request.group, request.group_index, request.eta) == ("an id", "g", 4, eta)


def test_pickled_signatures_of_celery_are_maps(celery):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signature = celery.signature("tasks.add", (1,), immutable=True)
        chain = signature | signature
    writer = serializers.get("pickle")
    found = writer.loads(pickle.dumps([signature, chain]))
    assert [type(item) for item in found] == [dict, dict]
    assert found[0]["task"] == "tasks.add"
    assert found[1]["kwargs"]["tasks"][0]["immutable"] is True
