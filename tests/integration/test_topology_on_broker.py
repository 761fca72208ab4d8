"""Layout, plan, export and router against a real broker."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pika
import pytest
from declaring import declare
from waiting import wait_for

from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.topology.declarations import Binding, Exchange, Queue, Version
from amqtask.topology.document import load
from amqtask.topology.export import definitions
from amqtask.topology.layout import topology_steps
from amqtask.topology.model import Topology
from amqtask.topology.plan import plan
from amqtask.topology.router import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import RabbitNode
    from pika.adapters.blocking_connection import BlockingChannel

pytestmark = pytest.mark.rabbitmq

ROUTING = Path(__file__).resolve().parent.parent.parent / "routing.yaml"


@pytest.fixture
def channel(vhost_url: str) -> Iterator[BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(vhost_url))) as connection:
        yield connection.channel()


@pytest.fixture
def admin(vhost_url: str) -> Iterator[Admin]:
    with Admin(parse_urls(vhost_url), ConnectionOptions()) as admin:
        yield admin


def test_the_plan_for_the_routing_file_is_clean_once_applied(admin: Admin) -> None:
    steps = topology_steps(load(ROUTING), admin.version)
    for step in plan(steps, admin).steps:
        admin.declare(step)
    applied = plan(steps, admin)
    assert applied.clean
    assert {item.action for item in applied.items} == {"same", "bind"}


def test_a_plan_names_what_is_different_and_creates_nothing(admin: Admin) -> None:
    version = admin.version
    for step in topology_steps(Topology.from_code([Queue("plan-q", max_length=5)]), version, ["plan-q"]):
        admin.declare(step)
    wanted = Topology.from_code([Queue("plan-q", max_length=7), Queue("plan-missing")], default_queue="plan-q")
    made = plan(topology_steps(wanted, version), admin)
    (different,) = made.differences
    assert different.name == "plan-q"
    assert "x-max-length is" in different.note
    assert "5" in different.note
    assert "7" in different.note
    assert [item.name for item in made.missing] == ["plan-missing.dead", "plan-missing"]
    assert admin.queue_state("plan-missing") is None


@pytest.mark.rabbitmq_only("importing definitions")
def test_exported_definitions_make_the_same_topology(admin: Admin, broker_node: RabbitNode, vhost_url: str) -> None:
    vhost = pika.URLParameters(vhost_url).virtual_host
    steps = topology_steps(load(ROUTING), admin.version)
    broker_node.import_definitions(json.dumps(definitions(steps, vhost)))
    assert plan(steps, admin).clean


def test_the_router_finds_the_queues_that_the_broker_delivers_to(channel: BlockingChannel) -> None:
    exchanges = [
        Exchange("sim.topic", "topic", alternate="sim.strays"),
        Exchange("sim.direct", "direct", bindings=(Binding("sim.topic", "#.deep"),)),
        Exchange("sim.strays", "fanout"),
        Exchange("sim.headers", "headers"),
    ]
    queues = [
        Queue("sim-a", type="classic", bindings=(Binding("sim.topic", "a.#"), Binding("sim.topic", "*"))),
        Queue(
            "sim-b",
            type="classic",
            bindings=tuple(Binding("sim.topic", key) for key in ("*.*.c", "#.#.x", "#.x.#")),
        ),
        Queue("sim-c", type="classic", bindings=(Binding("sim.direct", "a.deep"), Binding("sim.direct", "deep"))),
        Queue("sim-lost", type="classic", bindings=(Binding("sim.strays"),)),
        Queue(
            "sim-h",
            type="classic",
            bindings=(Binding("sim.headers", "", {"x-match": "any", "k": 1, "l": "m"}),),
        ),
    ]
    topology = Topology.from_code(queues, exchanges=exchanges, default_queue="sim-a")
    declare(channel, topology_steps(topology, Version(3, 10)))
    channel.confirm_delivery()
    router = Router(topology)
    words = [
        "",
        "a",
        "x",
        "deep",
        "a.",
        ".a",
        "a..c",
        "a.b.c",
        "..c",
        "a.deep",
        "b.deep",
        "x.x",
        "b.x.c",
        "b.b",
        ".",
    ]
    cases = [("sim.topic", key, {}) for key in words]
    cases += [("sim.headers", "", headers) for headers in ({"k": 1}, {"k": 2}, {"l": "m", "k": 3}, {})]
    for exchange, key, headers in cases:
        channel.basic_publish(exchange, key, b"?", pika.BasicProperties(headers=headers))
        expected = router.queues_for(exchange, key, headers)
        reached = set()
        for queue in topology.queues:
            if queue in expected:
                wait_for(lambda queue=queue: channel.basic_get(queue, auto_ack=True)[0] is not None)
                reached.add(queue)
            elif channel.basic_get(queue, auto_ack=True)[0] is not None:
                reached.add(queue)
        assert reached == set(expected), (exchange, key, headers)
