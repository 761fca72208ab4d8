"""A topology in other formats."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from amqtask.topology.declarations import (
    Backoff,
    Binding,
    Exchange,
    Pool,
    Queue,
    RetryPolicy,
    Version,
)
from amqtask.topology.delays import ladder_steps
from amqtask.topology.export import (
    definitions,
    exchange_rows,
    mermaid,
    pool_rows,
    queue_rows,
    route_rows,
)
from amqtask.topology.layout import topology_steps
from amqtask.topology.model import Topology

OLD = Version(3, 10)
TOPOLOGY = Topology.from_code(
    queues=[
        Queue(
            "emails",
            bindings=(Binding("tasks", "email.#"),),
            max_priority=9,
            retry=RetryPolicy(delays=(timedelta(seconds=5),), max_retries=None),
        ),
        Queue('odd "name" <end>', retry=RetryPolicy(backoff=Backoff())),
    ],
    routes=[{"shop.*": {"exchange": "tasks", "routing_key": "email.x", "priority": 7}}, {"end": "emails"}],
    exchanges=[
        Exchange("tasks", "topic", alternate="strays"),
        Exchange("strays", "fanout", bindings=(Binding("tasks", "*.lost"),)),
    ],
    pools=[Pool("mail", {"emails": 3, 'odd "name" <end>': 1}, order="weighted", pool="prefork", concurrency=2)],
)


def test_definitions_hold_every_step_and_are_json() -> None:
    steps = (*topology_steps(TOPOLOGY, OLD), *ladder_steps(0))
    found = json.loads(json.dumps(definitions(steps, "shop")))
    assert sum(len(found[kind]) for kind in ("exchanges", "queues", "bindings")) == len(steps)
    assert {item["vhost"] for kind in found.values() for item in kind} == {"shop"}
    assert {
        "source": "tasks",
        "vhost": "shop",
        "destination": "emails",
        "destination_type": "queue",
        "routing_key": "email.#",
        "arguments": {},
    } in found["bindings"]
    assert {item["destination_type"] for item in found["bindings"]} == {"queue", "exchange"}


def test_the_drawing_shows_every_object_and_escapes_their_names() -> None:
    drawing = mermaid(TOPOLOGY)
    assert drawing.startswith("flowchart LR\n")
    for part in (
        "tasks<br/>topic",
        "shop.*",
        '"email.#35;"',
        "emails.retry.5000",
        "emails.dead",
        "pool mail",
    ):
        assert part in drawing
    assert "odd #quot;name#quot; #lt;end#gt;" in drawing
    assert '. "unroutable" .->' in drawing
    defined = set(re.findall(r"\b([xqwdrp]\d+)(?=[\[({])", drawing))
    assert set(re.findall(r"\b[xqwdrp]\d+\b", re.sub(r'"[^"]*"', "", drawing))) == defined


def test_rows_for_tables() -> None:
    assert exchange_rows(TOPOLOGY) == [("tasks", "topic", "strays"), ("strays", "fanout", "")]
    assert queue_rows(TOPOLOGY, OLD)[0] == ("emails", "classic", "9", "5s; unlimited", "tasks (email.#)")
    assert queue_rows(TOPOLOGY)[1] == ('odd "name" <end>', "quorum", "", "backoff; at most 3", "")
    assert queue_rows(TOPOLOGY)[2] == ("amqtask", "quorum", "", "", "")
    assert route_rows(TOPOLOGY) == [
        ("1", "shop.*", "tasks (email.x)", "7"),
        ("2", "end", "queue emails", ""),
        ("", "(any other)", "queue amqtask", ""),
    ]
    assert pool_rows(TOPOLOGY) == [("mail", 'emails:3, odd "name" <end>', "weighted", "prefork", "2")]
