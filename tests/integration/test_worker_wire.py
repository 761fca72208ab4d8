"""A worker runs what comes in any format it accepts: every serializer, every compression, and protocol 1."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from worker_process import new_site

from amqtask.wire.codec import encode, serializers
from amqtask.wire.compression import compress
from amqtask.wire.message import Properties, TaskMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node
    from worker_process import Site

pytestmark = pytest.mark.rabbitmq

FORMATS = ["json", "msgpack", "yaml", "pickle"]

_numbers = count()


@pytest.fixture(scope="module", params=["prefork", "threads"])
def site(request, broker_node: Node, tmp_path_factory) -> Iterator[Site]:
    """A site with one worker for the tests of this file."""
    settings = {"accept_content": ",".join(FORMATS), "allow_insecure_pickle": "true"}
    with new_site(broker_node, tmp_path_factory.mktemp("wire"), **settings) as site:
        worker = site.worker("-P", request.param, "-c", "2")
        yield site
        assert worker.stop() == 0
        assert "CRITICAL" not in worker.text()


def protocol_1(name: str, task: str, *args: object, **more: object) -> tuple[bytes, Properties]:
    writer = serializers.get(name)
    body = {"task": task, "id": f"id of {args[0]}", "args": list(args), "kwargs": {}, "retries": 0, "utc": True, **more}
    return writer.dumps(body), Properties(writer.content_type, writer.content_encoding, {})


@pytest.mark.parametrize("task", ["note", "anote"])
@pytest.mark.parametrize("name", FORMATS)
def test_protocol_1_runs(site, name, task):
    label = f"run {next(_numbers)}"
    site.put("work", *protocol_1(name, task, label))
    site.wait_done(label)


@pytest.mark.parametrize("name", FORMATS)
def test_protocol_1_is_retried_as_often_as_the_task_says(site, name):
    label = f"again {next(_numbers)}"
    site.put("work", *protocol_1(name, "again", label, 2, 0.05))
    site.wait_done(label)
    assert [event.more["retries"] for event in site.events("start", label)] == [0, 1, 2]


@pytest.mark.parametrize("name", ["json", "pickle"])
def test_protocol_1_that_fails_for_good_can_be_replayed(site, name):
    label = f"fail {next(_numbers)}"
    site.put("work", *protocol_1(name, "fail_at_once", label))
    (dead,) = site.wait_dead(1)
    assert dead.reason == "failed"
    site.admin.purge("work.dead")
    site.put("work", dead.body, dead.properties)
    (again,) = site.wait_dead(1)
    assert (again.reason, site.labels("start")[label]) == ("failed", 2)
    site.admin.purge("work.dead")


@pytest.mark.parametrize("compression", ["gzip", "bz2", "lzma", "zstd"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_runs_in_every_compression(site, name, compression):
    label = f"packed {next(_numbers)}"
    message = TaskMessage("note", label, (label,))
    properties, body = encode(message, serializer=serializers.get(name), compression=compression, celery=True)
    site.put("work", body, properties)
    site.wait_done(label)


def test_a_compressed_message_of_protocol_1_runs(site):
    label = f"old {next(_numbers)}"
    body, properties = protocol_1("json", "again", label, 1, 0.05)
    packed, compression = compress(body, "bzip2")
    site.put("work", packed, properties._replace(headers={"compression": compression}))
    site.wait_done(label)


@pytest.mark.parametrize("task", ["note", "anote"])
def test_a_large_message_of_protocol_1_runs(site, task):
    label = f"large {next(_numbers)}"
    site.put("work", *protocol_1("json", task, label, filler="x" * 300_000))
    site.wait_done(label)


@pytest.mark.parametrize("compression", [{}, [], 0, False])
def test_protocol_1_with_a_compression_that_says_nothing_runs(site, compression):
    label = f"odd {next(_numbers)}"
    body, properties = protocol_1("json", "note", label)
    site.put("work", body, properties._replace(headers={"compression": compression}))
    site.wait_done(label)
