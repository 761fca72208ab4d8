"""Traces through the broker: every pool, dead letters, signed messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from nodes import Node
from spans import kept_spans, own, parent
from waiting import wait_for
from worker_process import new_site, whole_lines

from amqtask import Amqtask, Queue, chord
from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.broker.url import parse_urls
from amqtask.wire.signing import Signer
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

PAGE = Path(__file__).parents[2] / "docs/how-to/tracing.md"

POOLS = {"prefork": 2, "threads": 2, "asyncio": 4, "gevent": 4, "solo": 1}

ROUTING = "version: 1\ndefaults:\n  queue: {type: classic}\nqueues:\n" + "".join(f"  {pool}: {{}}\n" for pool in POOLS)


@pytest.fixture
def spans(monkeypatch):
    with kept_spans(monkeypatch) as spans:
        yield spans


def test_a_trace_goes_through_the_workers_of_every_pool(broker_node: Node, tmp_path, spans):
    def written(pool, state=None):
        found = [json.loads(line) for line in whole_lines(tmp_path / "spans")]
        assert not [one for one in found if "inside" in one["name"]]
        return [one for one in found if one["queue"] == pool and state in (None, one["state"])]

    with new_site(broker_node, tmp_path, ROUTING) as site:
        for pool, slots in POOLS.items():
            site.start("-A", "traced", "worker", "-P", pool, "-c", str(slots), "-Q", pool, "-n", pool, ready=False)
        for pool in POOLS:
            for task in ("outer", "aouter", "late"):
                site.send(task, queue=pool)
        for pool in POOLS:
            site._wait(lambda pool=pool: len(written(pool)) == 6, 60)
            sent = {one: spans.named(f"send {one}")[list(POOLS).index(pool)] for one in ("outer", "aouter", "late")}
            first, again = (one for one in written(pool) if one["name"] == "process outer")
            assert (first["state"], again["state"]) == ("RETRY", "SUCCESS")
            assert first["parent"] == again["parent"] == own(sent["outer"])
            assert (first["links"], again["links"]) == ([], [first["id"]])
            (waited,) = (one for one in written(pool) if one["name"] == "process aouter")
            assert waited["parent"] == own(sent["aouter"])
            (late,) = written(pool, "FAILURE")
            assert (late["parent"], late["error"]) == (
                own(sent["late"]),
                "amqtask.errors.SoftTimeLimitExceeded",
            )
            every = {one["id"]: one for one in map(json.loads, whole_lines(tmp_path / "spans"))}
            inner = [one for one in written(pool) if one["name"] == "process inner"]
            assert {every[one["parent"]]["name"] for one in inner} == {"send inner"}
            assert {every[one["parent"]]["parent"] for one in inner} == {again["id"], waited["id"]}
            assert {one["trace"] for one in inner} == {sent[task].context.trace_id for task in ("outer", "aouter")}


@pytest.fixture
def app(vhost_url, spans):
    keys = {"message_signing_keys": {"k": "a secret of 16 characters"}, "message_signing_key": "k"}
    app = Amqtask(
        "traced", broker=vhost_url, task_queues=[Queue("work", type="classic")], message_signing_required=True, **keys
    )
    yield app
    app.close()


def worker_of(app):
    return EmbeddedWorker(app, resolve(Requested(pool="threads", hostname="w@here"), app.topology, app.settings))


def test_a_signed_dead_letter_goes_on_in_its_trace_when_it_is_replayed(app, spans):
    fails = [True]

    @app.task(name="once", queue="work")
    def once():
        if fails:
            raise ValueError(fails.pop())

    with worker_of(app) as worker, Admin(parse_urls(app.settings.broker_url), app.connection_options) as admin:
        once.delay()
        wait_for(lambda: (state := admin.queue_state("work.dead")) is not None and state.ready == 1)
        assert len(DeadLetters(admin, "work", Signer(app.settings)).retry()) == 1
        wait_for(lambda: worker.counts.ended.get(0) == 1)
    failed, ran = spans.named("process once")
    assert parent(failed) == parent(ran) == own(spans.one("send once"))
    assert [span.attributes["amqtask.state"] for span in (failed, ran)] == ["FAILURE", "SUCCESS"]


def test_the_body_of_a_chord_belongs_to_its_trace(app, spans):
    @app.task(name="add", queue="work")
    def add(a, b):
        return a + b

    @app.task(name="total", queue="work")
    def total(numbers):
        assert numbers == [3, 7]

    with worker_of(app) as worker:
        chord([add.s(1, 2), add.s(3, 4)], total.s()).apply_async()
        wait_for(lambda: worker.counts.ended.get(0) == 3)
    send = spans.one("send")
    assert {parent(span) for span in (*spans.named("create add"), spans.one("create total"))} == {own(send)}
    assert {span.context.trace_id for span in spans.all()} == {send.context.trace_id}


def test_the_worker_of_the_page_writes_spans_to_the_end(broker_node: Node, tmp_path):
    (example,) = re.findall(r"^```python\n# work\.py\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "work.py").write_text(example)
    with new_site(broker_node, tmp_path, ROUTING) as site:
        worker = site.start("-A", "work", "worker", "-P", "prefork", "-c", "1", "-n", "w")
        task_id = site.send("work.add", 1, 2, queue="amqtask")
        worker.wait_for_log(rf"\[{task_id}\] succeeded")
        assert worker.stop() == 0
        text = worker.text()
        assert '"name": "process work.add"' in text
        assert f'"amqtask.task_id": "{task_id}"' in text
