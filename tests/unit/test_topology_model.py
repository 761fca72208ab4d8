"""The topology as a value, and Celery's ways to write it in code."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta

import pytest

from amqtask.errors import TopologyError
from amqtask.topology.declarations import Backoff, Binding, Exchange, Pool, Queue, RetryPolicy, Route
from amqtask.topology.model import Topology
from amqtask.topology.router import Router


def test_without_any_declaration_there_is_one_queue() -> None:
    topology = Topology.from_code()
    assert list(topology.queues) == ["amqtask"]
    assert topology.default_queue == Queue("amqtask")
    assert topology.exchanges == {}
    assert Topology.from_code(default_queue="jobs").default_queue.name == "jobs"


def test_an_unknown_name_suggests_the_nearest() -> None:
    topology = Topology.from_code([Queue("emails")], pools=[Pool("mail", {"emails": 1})])
    assert topology.queue("emails").name == "emails"
    assert topology.pool("mail").name == "mail"
    with pytest.raises(TopologyError, match=r"no queue 'emial'; did you mean 'emails'\?"):
        topology.queue("emial")
    with pytest.raises(TopologyError, match="no pool 'x'; there are mail"):
        topology.pool("x")


def test_celery_task_queues_declare_their_exchanges() -> None:
    topology = Topology.from_code(
        queues=(
            Queue("default", Exchange("default"), routing_key="default"),
            Queue("for_task_A", Exchange("for_task_A"), routing_key="for_task_A"),
            Queue("images", Exchange("media", type="topic"), "media.image"),
        ),
        default_queue="default",
    )
    assert list(topology.exchanges) == ["default", "for_task_A", "media"]
    assert topology.exchanges["media"].type == "topic"
    assert topology.queue("images").bindings == (Binding("media", "media.image"),)
    assert list(topology.queues) == ["default", "for_task_A", "images"]
    assert topology.default_queue is topology.queue("default")


def test_task_queues_may_be_names_or_a_mapping() -> None:
    assert list(Topology.from_code(["a", "b"]).queues) == ["a", "b", "amqtask"]
    mapped = Topology.from_code(
        {"a": {"exchange": "x", "exchange_type": "topic", "routing_key": "a.#"}, "b": None, "c": {}}
    )
    assert mapped.exchanges["x"].type == "topic"
    assert mapped.queue("a").bindings == (Binding("x", "a.#"),)
    assert mapped.queue("b").bindings == ()


@pytest.mark.parametrize(
    "routes",
    [
        {"my_taskA": {"queue": "for_task_A", "routing_key": "for_task_A"}},
        {"my_taskA": "for_task_A"},
        {"my_task*": {"queue": "for_task_A"}},
        {re.compile(r"my_task[AB]"): {"queue": Queue("for_task_A")}},
        {"/A$/": {"queue": "for_task_A"}},
        [{"other": "x"}, ("my_taskA", {"queue": "for_task_A"})],
        ("my_taskA", "for_task_A"),
        ({"other": "x"}, {"my_taskA": "for_task_A"}),
        [Route("my_taskA", queue="for_task_A"), {"*": "x"}],
        [[("my_taskA", "for_task_A")], None],
        Route("my_taskA", queue="for_task_A"),
    ],
)
def test_task_routes_in_every_shape(routes: object) -> None:
    topology = Topology.from_code(["for_task_A", "x"], routes)
    assert Router(topology).route("my_taskA").queue == "for_task_A"


def test_task_routes_with_exchange_and_priority() -> None:
    routes = {
        "a": {"exchange": Exchange("media", type="topic"), "routing_key": "media.x", "priority": 3},
        "b": {"exchange": "media"},
    }
    topology = Topology.from_code([], routes)
    routing = Router(topology).route("a")
    assert (routing.exchange, routing.routing_key, routing.priority) == ("media", "media.x", 3)
    assert Router(topology).route("b").routing_key == ""


@pytest.mark.parametrize(
    ("pattern", "hit", "miss"),
    [
        (re.compile("shop"), "shop.x", "my.shop"),
        (re.compile("(?i)shop"), "SHOP.x", "x"),
        (re.compile("shop # a comment", re.VERBOSE), "shop", "x"),
        (re.compile("a|b"), "b", "cb"),
        (re.compile(r"é\w", re.IGNORECASE | re.DOTALL), "ÉÉ", "x"),
    ],
)
def test_compiled_patterns_match_from_the_start_with_their_flags(pattern: re.Pattern[str], hit: str, miss: str) -> None:
    router = Router(Topology.from_code(["q"], {pattern: "q"}))
    assert router.route(hit).queue == "q"
    assert router.route(miss).queue == "amqtask"


@pytest.mark.parametrize(
    ("queues", "routes", "part"),
    [
        ("emails", (), "expected a list of Queue values"),
        ([5], (), "expected a Queue, got 5"),
        ({"a": 5}, (), "expected a mapping"),
        ({"a": {"exchnge": "x"}}, (), "did you mean 'exchange'?"),
        ([Queue("a"), Queue("a", max_length=3)], (), "'a' is declared twice"),
        ([], 5, "expected routes, got 5"),
        ([], {"a": 5}, "'a' leads to 5"),
        ([], {"a": {1: 2}}, "unknown option 1"),
        ([], {5: "a"}, "expected a task name"),
        ([], {"a": {}}, "needs a queue, or an exchange"),
        ([], {"a": {"qeue": "x"}}, "unknown option 'qeue'; did you mean 'queue'?"),
        ([], {"a": {"queue": "x", "priority": "high"}}, "write 0 to 9"),
        ([], [lambda name: name], "router functions are not supported"),
    ],
)
def test_other_shapes_are_refused_with_a_reason(queues: object, routes: object, part: str) -> None:
    with pytest.raises(TopologyError) as caught:
        Topology.from_code(queues, routes)  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_the_default_queue_exists_unless_a_route_catches_every_task() -> None:
    assert "amqtask" in Topology.from_code(["a"], {"x.*": "a"}).queues
    caught = Topology.from_code(["a"], {"*": "a"})
    assert "amqtask" not in caught.queues
    assert caught.default_queue.name == "amqtask"


def test_backoff_grows_to_its_maximum_and_jitter_only_adds() -> None:
    policy = RetryPolicy(backoff=Backoff(timedelta(seconds=1), 3.0, timedelta(seconds=10)), jitter=0.5)
    assert [policy.delay(retries).total_seconds() for retries in (0, 1, 2, 3, 5000)] == [1, 3, 9, 10, 10]
    assert policy.delay(0, spread=1.0) == timedelta(seconds=1.5)
    steep = RetryPolicy(backoff=Backoff(factor=1e99))
    assert steep.delay(9) == Backoff().maximum
    listed = RetryPolicy(delays=(timedelta(seconds=1), timedelta(seconds=5)))
    assert [listed.delay(retries).total_seconds() for retries in (0, 1, 2, 9)] == [1, 5, 5, 5]


def test_a_topology_made_in_code_loads_no_yaml() -> None:
    code = "import sys, amqtask.topology.router, amqtask.topology.layout; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
