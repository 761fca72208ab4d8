"""What is an error in a topology, and what is only doubtful; each with its place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amqtask.errors import DocumentError
from amqtask.topology.checks import check, warnings
from amqtask.topology.declarations import Binding, Exchange, Pool, Queue, RetryPolicy, Route, Version
from amqtask.topology.document import loads
from amqtask.topology.model import Topology
from amqtask.topology.route_checks import covers

OLD, FOUR, NEW = Version(3, 10, 8), Version(4, 0, 5), Version(4, 3, 6)


def errors(text: str) -> list[str]:
    """Errors that loading the document raises."""
    with pytest.raises(DocumentError) as caught:
        loads(text, "r.yaml")
    return [str(problem) for problem in caught.value.problems]


def doubts(text: str, version: Version | None = None) -> list[str]:
    topology = loads(text, "r.yaml")
    assert check(topology, version) == []
    return [str(problem) for problem in warnings(topology, version)]


def test_dangling_names_are_errors_with_their_place_and_a_suggestion() -> None:
    found = errors(
        "exchanges: {tasks: {alternate: tsks}, deep: {bindings: [{exchange: nowhere}]}}\n"
        "queues:\n"
        "  emails: {bindings: [{exchange: task, routing_key: x}]}\n"
        "routes:\n"
        "  - {task: a, queue: email}\n"
        "  - {task: b, exchange: taks}\n"
        "pools:\n"
        "  mail: {queues: [emials]}\n"
    )
    assert [line.replace(", which is not declared", "") for line in found] == [
        "r.yaml:1:13: alternate the exchange 'tsks'; did you mean 'tasks'?",
        "r.yaml:1:57: exchange 'deep' is bound to the exchange 'nowhere'",
        "r.yaml:3:23: queue 'emails' is bound to the exchange 'task'; did you mean 'tasks'?",
        "r.yaml:5:5: the route for 'a' leads to the queue 'email'; did you mean 'emails'?",
        "r.yaml:6:5: the route for 'b' leads to the exchange 'taks'; did you mean 'tasks'?",
        "r.yaml:8:3: pool 'mail' works on the queue 'emials'; did you mean 'emails'?",
    ]


def test_a_route_that_reaches_no_queue_is_an_error() -> None:
    text = "exchanges: {x: {type: %s}}\nqueues: {a: {bindings: [{exchange: x, routing_key: 'k.*'}]}}\n"
    route = "routes: [{task: t, exchange: x, routing_key: z}]"
    assert errors(text % "topic" + route) == [
        (
            "r.yaml:3:10: no queue receives what exchange 'x' gets with the routing key 'z'; "
            "bind a queue, or send to a queue by its name"
        )
    ]
    loads(text % "fanout" + route)
    loads(text % "headers" + route)
    loads(text % "topic" + "routes: [{task: t, exchange: x, routing_key: k.z}]")
    loads("routes: [{task: t, exchange: amq.topic, routing_key: others.will.bind}]")


def test_an_internal_exchange_takes_no_tasks() -> None:
    assert (
        "internal"
        in errors(
            "exchanges: {x: {internal: true, type: fanout}}\n"
            "queues: {a: {bindings: [{exchange: x}]}}\nroutes: [{task: t, exchange: x}]"
        )[0]
    )


def test_a_broken_regex_is_located() -> None:
    found = errors("queues: {a: }\nroutes: [{task: '/(/', queue: a}, {task: '/ok/', queue: a}]")
    assert len(found) == 1
    assert found[0].startswith("r.yaml:2:10: the regex /(/ is broken: missing )")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("queues: {amq.x: }", "reserved by RabbitMQ"),
        ("queues: {amqtask.delay.0.1: }", "reserved for delays"),
        ("queues: {amqtask-delay.0.0: }", "reserved for delays"),
        ("queues: {a: , a.dead: }", "keeps the failed messages of 'a' there"),
        ("queues: {a: {retry: {delays: [5s]}}, a.retry.5000: }", "retries of 'a' wait there"),
        ("queues: {" + "é" * 150 + ": }", "too long"),
        ("exchanges: {amqtask.delay.3: }", "reserved for delays"),
        ("exchanges: {amq.mine: }", "reserved by RabbitMQ"),
        ("exchanges: {amq.topic: {type: fanout}}", "exists on every RabbitMQ, with type topic"),
        (
            "exchanges: {h: {type: x-consistent-hash}}\nqueues: {a: {bindings: [{exchange: h}]}}",
            "is a weight",
        ),
        ("queues: {a: {bindings: [{exchange: ''}]}}", "it is empty"),
        (
            "queues: {a: {type: quorum, arguments: {x-max-priority: 9}}}",
            "refused by every RabbitMQ on a quorum queue",
        ),
        ("queues: {a: {arguments: {x-max-priority: 9}}}", "use the key max_priority"),
        ("queues: {a: {type: quorum, arguments: {x-queue-type: classic}}}", "leave the argument out"),
        ("queues: {a: {arguments: {x-queue-type: stream}}}", "can't hold tasks"),
        ("queues: {a: {arguments: {x-overflow: reject-publish-dlx}}}", "classic queues only"),
        (
            "queues: {a: {overflow: drop-head, arguments: {x-dead-letter-strategy: at-least-once}}}",
            "needs overflow: reject-publish",
        ),
        ("queues: {a: {expires: 0s}}", "longer than 0"),
        ("queues: {a: {retry: {delays: [400d]}}}", "longer than 310 days"),
    ],
)
def test_what_can_never_work_is_refused_at_load(text: str, part: str) -> None:
    found = errors(text)
    assert len(found) == 1
    assert part in found[0]
    assert found[0].startswith("r.yaml:")


@pytest.mark.parametrize(
    ("queue", "part"),
    [
        (Queue("a", type="stream"), "stream"),
        (Queue("a", max_priority=10), "0 to 9"),
        (Queue("a", durable=False), "always durable"),
        (Queue(""), "needs a name"),
        (Queue("amq.x"), "reserved"),
    ],
)
def test_queues_made_in_code_are_checked_too(queue: Queue, part: str) -> None:
    found = check(Topology.from_code([queue]))
    assert part in found[0].text
    assert found[0].where == f"queue {queue.name!r}"


def test_routes_and_exchanges_made_in_code_are_checked_too() -> None:
    topology = Topology.from_code(
        [Queue("a", bindings=(Binding("", "x"),))],
        [Route("t"), Route("u", queue="a", exchange="x"), Route("v", queue="a", priority=10)],
        [Exchange("")],
    )
    texts = "\n".join(str(problem) for problem in check(topology))
    assert "nothing can be bound to the default exchange" in texts
    assert "route 't': the route for 't' needs either a queue or an exchange" in texts
    assert "route 'u': the route for 'u' needs either" in texts
    assert "priority is 10" in texts
    assert "the default exchange, named '', can't be declared" in texts


def test_explicit_quorum_with_priorities_depends_on_the_broker() -> None:
    topology = loads("queues: {a: {type: quorum, max_priority: 9}}\nroutes: [{task: '*', queue: a}]", "r.yaml")
    assert [str(problem) for problem in check(topology, OLD)] == [
        (
            "r.yaml:1:10: queue 'a': RabbitMQ 3.10.8 does not rank priorities in quorum queues; "
            "leave the type out, or write classic"
        )
    ]
    assert check(topology, FOUR) == []
    assert [str(problem) for problem in warnings(topology, FOUR)] == [
        "r.yaml:1:10: queue 'a': RabbitMQ 4.0.5 knows two priorities in quorum queues: 0 to 4, and 5 to 9"
    ]
    assert check(topology, NEW) == check(topology) == warnings(topology, NEW) == []


@pytest.mark.parametrize(
    ("arguments", "version", "part"),
    [
        (
            "x-delayed-retry-type: failed",
            OLD,
            "works from RabbitMQ 4.3 on; RabbitMQ 3.10.8 ignores it silently",
        ),
        ("x-delayed-retry-type: failed", FOUR, "works from RabbitMQ 4.3 on"),
        ("x-delayed-retry-type: failed", NEW, None),
        ("x-consumer-timeout: 1000", FOUR, "works from RabbitMQ 4.3 on"),
        ("x-queue-mode: lazy", OLD, "no effect on a quorum queue"),
        ("x-delivery-limt: 3", None, "did you mean 'x-delivery-limit'?"),
        ("x-message-ttl: 3", None, "the key 'message_ttl' sets it with checks"),
        ("x-queue-leader-locator: balanced", OLD, None),
    ],
)
def test_raw_arguments_that_a_broker_would_ignore(arguments: str, version: Version | None, part: str | None) -> None:
    found = doubts(f"queues: {{a: {{arguments: {{{arguments}}}}}}}\nroutes: [{{task: '*', queue: a}}]", version)
    assert len(found) == (part is not None)
    assert part is None or part in found[0]


def test_arguments_that_only_some_brokers_refuse() -> None:
    one = Topology.from_code([Queue("a", type="classic", arguments={"x-queue-version": 1, "x-consumer-timeout": 5})])
    assert check(one, FOUR) == check(one) == []
    texts = [problem.text for problem in check(one, NEW)]
    assert len(texts) == 2
    assert any("x-queue-version: 1 is refused" in text for text in texts)
    assert any("x-consumer-timeout is refused" in text for text in texts)


def test_queues_that_nothing_leads_to_are_doubtful() -> None:
    text = (
        "queues: {a: , b: , c: , x: {bindings: [{exchange: amq.topic, routing_key: k}]}}\n"
        "routes: [{task: t, queue: b}]\n"
    )
    found = doubts(text)
    assert [line.split(" so ")[0] for line in found] == [
        "r.yaml:1:10: nothing leads to queue 'a': no binding, no route and no pool names it,",
        "r.yaml:1:20: nothing leads to queue 'c': no binding, no route and no pool names it,",
    ]
    with_pools = text + "pools: {p: {queues: [a, b, c]}}"
    assert doubts(with_pools) == [
        "r.yaml: the default queue 'amqtask' is in no pool: tasks that no route matches would wait there",
        "r.yaml:1:25: queue 'x' is in no pool",
    ]


def test_shadowed_routes_are_doubtful() -> None:
    text = (
        "queues: {a: }\n"
        "routes:\n"
        "  - {task: 'shop.*', queue: a}\n"
        "  - {task: shop.mail, queue: a}\n"
        "  - {task: 'shop.mail.*', queue: a}\n"
        "  - {task: 'sh*', queue: a}\n"
        "  - {task: '*', queue: a}\n"
        "  - {task: '/x/', queue: a}\n"
    )
    assert doubts(text) == [
        "r.yaml:4:5: the route for 'shop.mail' is never used: 'shop.*' (r.yaml:3:5) matches first",
        "r.yaml:5:5: the route for 'shop.mail.*' is never used: 'shop.*' (r.yaml:3:5) matches first",
        "r.yaml:8:5: the route for '/x/' is never used: '*' (r.yaml:7:5) matches first",
    ]


@pytest.mark.parametrize(
    ("first", "second", "certain"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a?", "a*", False),
        ("a*", "a?", True),
        ("a[*]", "a*", False),
        ("/a/", "xay", True),
        ("/a/", "a*", False),
        ("/.*/", "a*", True),
        ("a*", "/^a/", False),
    ],
)
def test_shadowing_is_claimed_only_when_certain(first: str, second: str, certain: bool) -> None:
    assert covers(first, second) is certain


def test_priorities_that_no_queue_heeds_are_doubtful_before_43() -> None:
    text = (
        "exchanges: {x: {type: fanout}}\n"
        "queues: {a: {bindings: [{exchange: x}]}, b: {bindings: [{exchange: x}], max_priority: 9}}\n"
        "routes: [{task: t, exchange: x, priority: 7}, {task: u, queue: b, priority: 1}]"
    )
    assert doubts(text, OLD) == [
        "r.yaml:3:10: priority 7 has no effect on RabbitMQ 3.10.8: queue 'a' has no max_priority"
    ]
    assert doubts(text, NEW) == doubts(text) == []


def test_other_doubts() -> None:
    text = (
        "queues:\n"
        "  a: {overflow: drop-head, max_length: 5}\n"
        "  b: {consumer_timeout: 2h}\n"
        "routes: [{task: '*', queue: a}]\n"
        "pools: {p: {queues: {a: 1, b: 2}, order: strict}}\n"
    )
    assert [line.partition(": ")[2] for line in doubts(text, OLD)] == [
        "queue 'a': with overflow: drop-head the broker dead-letters at most once: a crash loses messages",
        (
            "queue 'b': consumer_timeout has no effect on a quorum queue of RabbitMQ 3.10.8: "
            "the broker's own setting rules"
        ),
        "pool 'p': order: strict uses the order of the queues, not their weights",
    ]


def test_a_sound_topology_has_no_findings() -> None:
    topology = Topology.from_code(
        [Queue("a", retry=RetryPolicy(delays=(timedelta(seconds=5),)))],
        {"*": "a"},
        pools=[Pool("p", {"a": 1})],
    )
    for version in (None, OLD, FOUR, NEW):
        assert check(topology, version) == []
        assert warnings(topology, version) == []


@pytest.mark.parametrize("exchange", ["events", "amq.topic"])
def test_a_binding_key_with_more_hashes_than_the_broker_takes_is_an_error_there(exchange: str) -> None:
    topology = loads(
        "exchanges: {events: {type: topic}}\n"
        f"queues: {{a: {{bindings: [{{exchange: {exchange}, routing_key: '#.x.#.y.#'}}]}}}}\n",
        "r.yaml",
    )
    assert check(topology) == check(topology, FOUR) == []
    (problem,) = check(topology, NEW)
    assert str(problem).startswith("r.yaml:2:25: RabbitMQ 4.3.6 refuses the binding key '#.x.#.y.#'")


def test_hashes_mean_nothing_in_the_keys_of_a_direct_exchange() -> None:
    bound = Binding("events", "#.#.#")
    topology = Topology.from_code(
        [Queue("a", bindings=(bound,))], exchanges=[Exchange("events", "direct")], default_queue="a"
    )
    assert check(topology, NEW) == []


def test_names_of_objects_that_amqtask_makes_by_itself_are_doubtful() -> None:
    names = "for what amqtask makes by itself"
    found = doubts(
        "exchanges: {amqtask.paused: {type: topic}}\n"
        "queues:\n"
        "  amqtask.revoked: {}\n"
        "  amqtaskish: {bindings: [{exchange: amqtask.paused, routing_key: x}]}\n"
        "pools: {all: {queues: [amqtask.revoked, amqtaskish, amqtask]}}\n"
    )
    assert [line.partition(": names")[0] for line in found if names in line] == [
        "r.yaml:1:13: exchange 'amqtask.paused'",
        "r.yaml:3:3: queue 'amqtask.revoked'",
    ]
    assert warnings(Topology.from_code(default_queue="amqtask.mine")) == []
