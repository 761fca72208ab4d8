"""The rights that docs/reference/broker.md gives to each kind of program are enough for what that has to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from beats import beating
from nodes import Node, RabbitNode
from waiting import wait_for

from amqtask import Amqtask, Exchange, Queue, RetryPolicy, Route, chord
from amqtask.control import pauses
from amqtask.topology.layout import topology_steps
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = [pytest.mark.rabbitmq, pytest.mark.rabbitmq_only("the dev broker has no permissions")]

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/broker.md"
ROW = r"^\| (sends only|worker|scheduler|operator).*? \| `(.*?)` \| `(.*?)` \| `(.*?)` \|$"


@pytest.fixture
def urls(broker_node: Node, vhost_url: str) -> Iterator[dict[str, str]]:
    """Kind of program -> URL of a user with the rights that the page gives to it."""
    if not isinstance(broker_node, RabbitNode) or not broker_node.has_api:
        pytest.skip("the management API is out of reach")
    parts = urlsplit(vhost_url)
    vhost, found = unquote(parts.path[1:]), {}
    for kind, *rights in re.findall(ROW, PAGE.read_text(), flags=re.MULTILINE):
        user = f"{vhost}-{kind.replace(' ', '-')}"
        patterns = dict(zip(("configure", "write", "read"), (text.replace(r"\|", "|") for text in rights), strict=True))
        broker_node.api("PUT", f"users/{user}", b'{"password": "secret", "tags": ""}')
        broker_node.api("PUT", f"permissions/{quote(vhost, safe='')}/{user}", json.dumps(patterns).encode())
        found[kind] = parts._replace(netloc=f"{user}:secret@{parts.hostname}:{parts.port}").geturl()
    yield found
    for url in found.values():
        broker_node.api("DELETE", f"users/{urlsplit(url).username}")


def new_app(url: str, **settings: object) -> Amqtask:
    app = Amqtask(
        "shop",
        broker=url,
        backend="rpc://",
        task_queues=[
            Queue("mail", Exchange("shop", "topic"), "mail.#", retry=RetryPolicy(delays=(timedelta(milliseconds=50),)))
        ],
        task_routes=[Route("*", exchange="shop", routing_key="mail.send")],
        beat_schedule={"tick": {"task": "tick", "schedule": 0.3}},
        **settings,
    )

    @app.task(name="add", max_concurrency=5)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="total", rate_limit="100/s", scope="global")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="flaky", bind=True, max_retries=1)
    def flaky(self) -> int:
        if not self.request.retries:
            raise ConnectionError
        return self.request.retries

    @app.task(name="tick")
    def tick() -> None:
        ticks.append(1)

    ticks: list[int] = []
    app.ticks = ticks  # type: ignore[attr-defined]
    return app


def test_what_each_program_has_to_do_needs_no_more_rights_than_documented(vhost_url, urls):
    assert set(urls) == {"sends only", "worker", "scheduler", "operator"}
    with new_app(vhost_url) as admin:
        admin.transport.declare(lambda version: topology_steps(admin.topology, version))
        admin.tasks["add"].apply_async((0, 0), countdown=60)  # makes the ladder
    worker, client = new_app(urls["worker"]), new_app(urls["sends only"], topology_mode="none")
    options = resolve(Requested(pool="threads", concurrency=4), worker.topology, worker.settings)
    with EmbeddedWorker(worker, options), client:
        add, total = client.tasks["add"], client.tasks["total"]
        assert add.apply_async((1, 2), countdown=0.1).get(timeout=60) == 3
        assert client.tasks["flaky"].delay().get(timeout=60) == 1
        assert chord([add.s(1, 1), add.s(2, 2)], total.s())().get(timeout=60) == 6
        with beating(new_app(urls["scheduler"])):
            wait_for(lambda: worker.ticks)
        with new_app(urls["operator"]) as operator:
            operator.control.revoke("an-id")
            assert operator.control.inspect([options.hostname], timeout=60).ping()
            pauses.pause(operator, "mail")
            pauses.resume(operator, "mail")
            operator.schedules.add("more", "tick", 60)
            assert [entry.name for entry in operator.schedules.list()] == ["more", "tick"]
