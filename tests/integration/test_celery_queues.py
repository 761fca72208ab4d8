"""Queues of a Celery deployment: declared as Celery declares them, and served whatever is found in them."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from interop import QUIET, SECONDS, close_celery, declare_as_celery
from waiting import wait_for

from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.contrib.celery import Celery
from amqtask.errors import TopologyError
from amqtask.topology.declarations import QueueDeclare, Version
from amqtask.topology.layout import topology_steps
from amqtask.wire.message import Outgoing, Properties
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = [pytest.mark.rabbitmq, *QUIET]

TOLERANCE = json.loads((Path(__file__).parents[1] / "data/celery_wire/tolerance.json").read_text())["to_worker"]
DIES = "worker process dies"


class Deployment:
    """Apps and workers of ours on a vhost, and a look at its queues."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.app = self.make()
        self.admin = Admin(self.app.broker_urls, self.app.connection_options)
        self._workers: list[EmbeddedWorker] = []

    def make(self, **settings: Any) -> Celery:
        app = Celery("ours", broker=self.url, backend="rpc://", **settings)

        @app.task(name="tasks.add")
        def add(x: int, y: int) -> int:
            return x + y

        @app.task(name="tasks.fail")
        def fail() -> None:
            raise ValueError("as it should")

        return app

    def work(self, *queues: str, app: Celery | None = None) -> EmbeddedWorker:
        app = app or self.app
        worker = EmbeddedWorker(app, resolve(Requested(pool="threads", queues=queues), app.topology, app.settings))
        worker.start()
        self._workers.append(worker)
        return worker

    def put(self, body: bytes, properties: Properties, queue: str = "celery") -> None:
        self.admin.publish(Outgoing("", queue, properties, body))

    def dead(self, queue: str = "celery") -> DeadLetters:
        return DeadLetters(self.admin, queue)

    def ready(self, queue: str) -> int:
        state = self.admin.queue_state(queue)
        return -1 if state is None else state.ready

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self.app.close()
        self.admin.close()


@pytest.fixture
def place(vhost_url: str) -> Iterator[Deployment]:
    made = Deployment(vhost_url)
    yield made
    made.close()


@pytest.fixture
def client(vhost_url: str) -> Iterator[Any]:
    """Of Celery."""
    import celery

    app = celery.Celery("theirs", broker=vhost_url, backend="rpc://", set_as_current=False)
    yield app
    close_celery(app)


@pytest.mark.parametrize("first", ["celery", "amqtask"])
def test_both_declare_the_same_queues(place: Deployment, first: str) -> None:
    if first == "celery":
        declare_as_celery(place.url, "other")
    place.work("celery", "other")
    declare_as_celery(place.url, "other")
    assert [place.ready(name) for name in ("celery", "other", "celery.dead", "other.dead")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "arguments", [{"x-max-priority": 10}, {"x-message-ttl": 60_000}, {"x-queue-type": "quorum"}], ids=str
)
def test_queue_that_celery_declares_with_arguments_is_used_as_it_is(
    place: Deployment, arguments: dict[str, Any]
) -> None:
    place.admin.declare(QueueDeclare("celery", arguments=arguments))
    place.work("celery")
    assert place.app.send_task("tasks.add", (1, 2)).get(timeout=SECONDS) == 3


def test_celery_sends_to_a_queue_that_only_its_name_makes(place: Deployment, client: Any) -> None:
    place.work("emails")
    assert client.send_task("tasks.add", (1, 2), queue="emails").get(timeout=SECONDS) == 3


def test_sending_makes_a_queue_that_is_missing(place: Deployment) -> None:
    place.app.send_task("tasks.add", (1, 2), queue="later")
    assert place.ready("later") == 1
    late = place.app.send_task("tasks.add", (3, 4), queue="much.later", countdown=0.3)
    assert place.ready("much.later") == 0
    place.work("later", "much.later")
    assert late.get(timeout=SECONDS) == 7


def test_sending_makes_no_queue_for_results(place: Deployment) -> None:
    worker = place.work("celery")
    gone = str(uuid.uuid4())
    place.app.send_task("tasks.add", (1, 2), reply_to=gone)
    wait_for(lambda: sum(worker.counts.ended.values()) == 1 and not worker.busy)
    assert place.ready(gone) == -1


def test_without_interop_an_unknown_queue_is_an_error(place: Deployment) -> None:
    strict = place.make(interop=None)
    with pytest.raises(TopologyError, match="unknown queue 'emails'"):
        resolve(Requested(queues=["emails"]), strict.topology, strict.settings)


def test_queues_of_routing_yaml_stay_ours(place: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text("version: 1\nqueues:\n  work: {type: classic}\nroutes:\n  - {task: tasks.add, queue: work}\n")
    app = place.make(routing=str(file))
    place.work("work", "celery", app=app)
    steps = {step.name: step for step in topology_steps(app.topology, Version(3, 10)) if isinstance(step, QueueDeclare)}
    assert steps["work"].arguments["x-dead-letter-routing-key"] == "work.dead"
    assert steps["celery"].arguments == {}
    assert app.send_task("tasks.add", (1, 2)).get(timeout=SECONDS) == 3
    app.close()


def test_failure_goes_to_a_plain_dead_letter_queue_and_can_be_replayed(place: Deployment) -> None:
    place.work("celery")
    result = place.app.send_task("tasks.fail")
    with pytest.raises(ValueError, match="as it should"):
        result.get(timeout=SECONDS)
    wait_for(lambda: place.ready("celery.dead") == 1)
    (dead,) = place.dead().read()
    assert (dead.id, dead.reason, dead.exception) == (result.id, "failed", "ValueError")
    place.admin.declare(QueueDeclare("celery.dead"))  # as Celery would
    assert place.dead().retry() == [result.id]


@pytest.mark.parametrize("case", TOLERANCE, ids=[case["name"].replace(" ", "-") for case in TOLERANCE])
def test_what_celery_tolerates_runs_and_what_kills_its_worker_is_dead_lettered(
    place: Deployment, case: dict[str, Any]
) -> None:
    worker = place.work("celery")
    name, task_id = case["name"], str(uuid.uuid4())
    body = "{nope" if case["body"] == "{nope" else json.dumps(case["body"])
    if "compression" in name:  # the sample only describes it
        body = json.dumps(TOLERANCE[0]["body"])
    headers = None if case["headers"] is None else {**case["headers"]}
    if headers and "id" in headers:
        headers["id"] = task_id
    content_type = next((word for word in name.split() if "/" in word), "application/json")
    properties = Properties(
        content_type=None if name == "no content_type" else content_type,
        content_encoding=None if name == "no content_encoding" else "utf-8",
        headers=headers,
        correlation_id=None if name == "no correlation_id" else task_id,
    )
    data = body.replace("<uuid>", task_id).encode()
    place.put(zlib.compress(data) if "compression" in (headers or {}) else data, properties)
    wait_for(lambda: sum(worker.counts.ended.values()) > 0 and not worker.busy, SECONDS)
    if case["outcome"].startswith("SUCCESS"):
        assert place.ready("celery.dead") == 0
    elif case["outcome"].startswith((DIES, "rejected", "message is removed")):
        wait_for(lambda: place.ready("celery.dead") == 1, SECONDS)
    assert place.app.send_task("tasks.add", (1, 2)).get(timeout=SECONDS) == 3


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma"])
def test_compressed_messages_are_read(place: Deployment, client: Any, compression: str) -> None:
    place.work("celery")
    result = client.send_task("tasks.add", ("x" * 5000, "y"), compression=compression)
    assert result.get(timeout=SECONDS) == "x" * 5000 + "y"


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_accepted_serializers_are_read(place: Deployment, client: Any, serializer: str) -> None:
    app = place.make(accept_content=["json", "msgpack", "yaml"])
    place.work("celery", app=app)
    assert client.send_task("tasks.add", (1, 2), serializer=serializer).get(timeout=SECONDS) == 3
    app.close()


def test_pickle_is_refused_and_dead_lettered(place: Deployment, client: Any) -> None:
    place.work("celery")
    client.send_task("tasks.add", (1, 2), serializer="pickle")
    wait_for(lambda: place.ready("celery.dead") == 1, SECONDS)
    (dead,) = place.dead().read()
    assert dead.reason == "refused_content"
