"""What a queue, an exchange and a topology turn into on the broker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from amqtask.errors import ConfigError, TopologyError
from amqtask.topology.declarations import (
    Binding,
    DeadLetter,
    Exchange,
    ExchangeBind,
    ExchangeDeclare,
    Queue,
    QueueBind,
    QueueDeclare,
    RetryPolicy,
    Step,
    Version,
)
from amqtask.topology.delays import (
    LONGEST,
    NO_LIMIT,
    Target,
    delay_target,
    delayed_queues,
    exact_delays,
    exit_step,
    ladder_level,
    ladder_steps,
    retry_target,
)
from amqtask.topology.layout import exchange_steps, holder_type, queue_steps, queue_type, topology_steps
from amqtask.topology.model import Topology, opened

OLD, FOUR, NEW = Version(3, 10, 8), Version(4, 0, 5), Version(4, 3, 6)


def seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


def declared(steps: tuple[Step, ...]) -> dict[str, dict[str, object]]:
    """Queue name -> arguments."""
    return {step.name: dict(step.arguments) for step in steps if isinstance(step, QueueDeclare)}


def test_a_plain_queue_is_quorum_and_has_a_dead_letter_queue() -> None:
    steps = queue_steps(Queue("emails"), OLD)
    assert declared(steps) == {
        "emails.dead": {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT},
        "emails": {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "emails.dead",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": 20,
        },
    }
    assert steps == queue_steps(Queue("emails"), NEW)


def test_exact_delays_have_a_queue_each_that_leads_back() -> None:
    queue = Queue("emails", retry=RetryPolicy(delays=seconds(5, 0.2, 5, 60)))
    found = declared(queue_steps(queue, OLD))
    assert list(found) == [
        "emails.dead",
        "emails.retry.5000",
        "emails.retry.200",
        "emails.retry.60000",
        "emails",
    ]
    assert found["emails.retry.200"] == {
        "x-queue-type": "quorum",
        "x-message-ttl": 200,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "emails",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": NO_LIMIT,
    }


@pytest.mark.parametrize(
    "retry", [None, RetryPolicy(), RetryPolicy(delays=seconds(5), jitter=0.1), RetryPolicy(delays=seconds(0))]
)
def test_jittered_and_growing_delays_have_no_queues_of_their_own(retry: RetryPolicy | None) -> None:
    queue = Queue("emails", retry=retry)
    assert exact_delays(queue) == ()
    assert len(declared(queue_steps(queue, OLD))) == 2
    assert retry_target(queue, timedelta(seconds=5), exact=True).exchange.startswith("amqtask.delay.")


def test_priorities_choose_the_type_that_the_broker_can_rank() -> None:
    queue = Queue("emails", max_priority=9, retry=RetryPolicy(delays=seconds(5)))
    old = declared(queue_steps(queue, OLD))
    assert (old["emails"]["x-queue-type"], old["emails"]["x-max-priority"]) == ("classic", 9)
    assert "x-dead-letter-strategy" not in old["emails"]
    assert "x-delivery-limit" not in old["emails"]
    # messages on their way are safer in quorum queues, whatever the queue itself has to be
    assert old["emails.retry.5000"]["x-queue-type"] == old["emails.dead"]["x-queue-type"] == "quorum"
    new = declared(queue_steps(queue, NEW))
    assert new["emails"]["x-queue-type"] == "quorum"
    assert "x-max-priority" not in new["emails"]
    assert [queue_type(queue, version) for version in (OLD, FOUR, NEW, None)] == [
        "classic",
        "classic",
        "quorum",
        "quorum",
    ]


def test_a_classic_queue_is_classic_throughout() -> None:
    queue = Queue("emails", type="classic", retry=RetryPolicy(delays=seconds(5)))
    found = declared(queue_steps(queue, NEW))
    assert {arguments["x-queue-type"] for arguments in found.values()} == {"classic"}
    assert found["emails.dead"] == {"x-queue-type": "classic"}
    assert found["emails.retry.5000"] == {
        "x-queue-type": "classic",
        "x-message-ttl": 5000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "emails",
    }
    assert holder_type(Queue("a", arguments={"x-queue-type": "classic"})) == "classic"


def test_limits_become_arguments_and_raw_arguments_win() -> None:
    queue = Queue(
        "emails",
        max_length=10,
        max_length_bytes=1000,
        message_ttl=timedelta(hours=1),
        expires=timedelta(days=7),
        single_active_consumer=True,
        dead_letter=DeadLetter(timedelta(days=14), 500),
        delivery_limit=5,
        arguments={"x-delivery-limit": 7, "x-queue-leader-locator": "balanced"},
    )
    found = declared(queue_steps(queue, OLD))
    expected = {
        "x-max-length": 10,
        "x-max-length-bytes": 1000,
        "x-message-ttl": 3_600_000,
        "x-expires": 604_800_000,
        "x-single-active-consumer": True,
        "x-delivery-limit": 7,
        "x-queue-leader-locator": "balanced",
    }
    assert expected.items() <= found["emails"].items()
    assert found["emails.dead"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": NO_LIMIT,
        "x-message-ttl": 14 * 86_400_000,
        "x-max-length": 500,
        "x-overflow": "drop-head",
    }


@pytest.mark.parametrize("queue", [Queue("a", overflow="drop-head"), Queue("a", arguments={"x-overflow": "drop-head"})])
def test_a_queue_that_drops_its_head_dead_letters_at_most_once(queue: Queue) -> None:
    found = declared(queue_steps(queue, OLD))["a"]
    assert found["x-overflow"] == "drop-head"
    assert found["x-dead-letter-strategy"] == "at-most-once"


def test_the_consumer_timeout_is_told_only_to_brokers_that_know_it() -> None:
    queue = Queue("a", consumer_timeout=timedelta(hours=2))
    assert "x-consumer-timeout" not in declared(queue_steps(queue, FOUR))["a"]
    assert declared(queue_steps(queue, NEW))["a"]["x-consumer-timeout"] == 7_200_000


def test_bindings_follow_their_queue() -> None:
    queue = Queue("a", bindings=(Binding("x", "k.#", {"q": 1}), Binding("", "a")))
    steps = queue_steps(queue, OLD)
    assert steps[-1] == QueueBind("a", "x", "k.#", {"q": 1})
    assert isinstance(steps[-2], QueueDeclare)


def test_exchanges_carry_their_alternate_and_builtin_ones_are_not_declared() -> None:
    exchange = Exchange("x", "topic", alternate="strays", internal=True, bindings=(Binding("y", "#"),))
    assert exchange_steps(exchange) == (
        ExchangeDeclare("x", "topic", internal=True, arguments={"alternate-exchange": "strays"}),
        ExchangeBind("x", "y", "#"),
    )
    assert exchange_steps(Exchange("amq.topic", "topic", bindings=(Binding("x", "a"),))) == (
        ExchangeBind("amq.topic", "x", "a"),
    )


def wide_topology() -> Topology:
    exchanges = [
        Exchange("inner", "direct", bindings=(Binding("outer", "#"),)),
        Exchange("outer", "topic", alternate="strays"),
        Exchange("strays", "fanout"),
        Exchange("apart", "fanout"),
    ]
    queues = [
        Queue("a", bindings=(Binding("inner", "a"),)),
        Queue("b", bindings=(Binding("apart"),)),
        Queue("lost", bindings=(Binding("strays"),)),
    ]
    return Topology.from_code(queues, exchanges=exchanges)


def test_a_topology_is_laid_out_in_an_order_that_can_be_declared() -> None:
    steps = topology_steps(wide_topology(), OLD)
    seen: set[str] = {""}
    for step in steps:
        if isinstance(step, ExchangeDeclare | QueueDeclare):
            seen.add(step.name)
        elif isinstance(step, QueueBind):
            assert {step.queue, step.exchange} <= seen
        else:
            assert {step.source, step.destination} <= seen
    assert {"inner", "outer", "strays", "apart", "a", "a.dead", "b", "lost", "amqtask"} <= seen


def test_chosen_queues_bring_only_the_exchanges_that_feed_them() -> None:
    topology = wide_topology()

    def exchanges(*names: str) -> set[str]:
        steps = topology_steps(topology, OLD, names)
        return {step.name for step in steps if isinstance(step, ExchangeDeclare)}

    assert exchanges("a") == {"inner", "outer", "strays"}
    assert exchanges("b") == {"apart"}
    assert exchanges("lost") == {"strays", "outer"}
    assert exchanges() == set()
    with pytest.raises(TopologyError, match="no queue 'c'"):
        topology_steps(topology, OLD, ["c"])


def test_the_example_of_the_ladder_drawing() -> None:
    assert delay_target(["emails"], timedelta(seconds=53.7)) == Target(
        "amqtask.delay.2", "amqtask-delay.0.0.0.0.2.1.9", {"CC": ["emails"]}
    )
    steps = ladder_steps(2)
    assert QueueBind("amqtask.delay.2.2", "amqtask.delay.2", "amqtask-delay.*.*.*.*.2.*.*") in steps
    assert ExchangeBind("amqtask.delay.1", "amqtask.delay.2", "amqtask-delay.*.*.*.*.0.*.*") in steps
    found = declared(steps)
    assert found["amqtask.delay.2.2"]["x-message-ttl"] == 51_200
    assert found["amqtask.delay.2.2"]["x-dead-letter-exchange"] == "amqtask.delay.1"
    assert found["amqtask.delay.0.9"]["x-dead-letter-exchange"] == ""
    assert found["amqtask.delay.0.0"]["x-message-ttl"] == 0


def test_a_message_for_a_plain_queue_leaves_the_ladder_by_a_queue_that_sets_its_key() -> None:
    target = delay_target(["celery", "ours"], timedelta(seconds=1), ["celery"])
    assert target.headers == {"BCC": ["amqtask.delay.to.celery", "ours"]}  # readers never see it
    assert delayed_queues(target.headers) == ("celery", "ours")
    assert exit_step("celery") == QueueDeclare(
        "amqtask.delay.to.celery",
        arguments={
            "x-queue-type": "quorum",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-delivery-limit": 2**31 - 1,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "celery",
            "x-message-ttl": 0,
        },
        lenient=True,
    )


@pytest.mark.parametrize(
    "more", [{"max_length": 9}, {"max_length_bytes": 9}, {"expires": timedelta(1)}, {"arguments": {"x-max-length": 9}}]
)
def test_a_queue_that_may_be_full_or_gone_keeps_what_is_delayed_for_others_out_of_its_way(more) -> None:
    queue = Queue("small", **more)
    assert retry_target(queue, timedelta(seconds=5), exact=False).headers == {"BCC": ["amqtask.delay.to.small"]}
    assert not Queue("large", message_ttl=timedelta(1)).has_exit


def test_a_queue_has_an_exit_as_its_like_has() -> None:
    ours = Topology.from_code([Queue("kept", retry=RetryPolicy(delays=seconds(5))), Queue("other")])
    assert not any(map(ours.has_exit, ["kept", "other", "unheard of"]))
    assert [name for name in ("kept", "other", "unheard of") if opened(ours).has_exit(name)] == ["other", "unheard of"]


@pytest.mark.parametrize("headers", [None, {}, {"CC": "text"}, {"BCC": 5}, {"CC": [1, None]}])
def test_headers_of_somebody_elses_name_no_queue(headers: dict[str, object] | None) -> None:
    assert delayed_queues(headers) == ()


def test_the_ladder_has_fifteen_queues_a_level_and_one_more_at_the_bottom() -> None:
    assert len(declared(ladder_steps(0))) == 16
    assert len(declared(ladder_steps(6, "classic"))) == 7 * 15 + 1
    assert declared(ladder_steps(0, "classic"))["amqtask.delay.0.1"] == {
        "x-queue-type": "classic",
        "x-dead-letter-exchange": "",
        "x-message-ttl": 100,
    }


def test_delays_at_the_edges() -> None:
    assert delay_target(["a"], timedelta(0)).routing_key == "amqtask-delay.0.0.0.0.0.0.0"
    assert delay_target(["a"], timedelta(seconds=-5)).exchange == "amqtask.delay.0"
    assert delay_target(["a"], LONGEST).routing_key == "amqtask-delay" + ".15" * 7
    assert delay_target(["a"], LONGEST).exchange == "amqtask.delay.6"
    with pytest.raises(ConfigError, match="too long; the longest is 310d"):
        delay_target(["a"], LONGEST + timedelta(microseconds=1))
    with pytest.raises(ConfigError, match="at least one queue"):
        delay_target([], timedelta(1))


def test_a_retry_is_exact_only_when_it_is_one_of_the_queues_own_delays() -> None:
    queue = Queue("a", retry=RetryPolicy(delays=seconds(5, 60)))
    assert retry_target(queue, timedelta(seconds=5), exact=True) == Target("", "a.retry.5000")
    assert retry_target(queue, timedelta(seconds=5), exact=False).headers == {"CC": ["a"]}
    assert retry_target(queue, timedelta(seconds=6), exact=True).headers == {"CC": ["a"]}


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("amqtask.delay.0", 0),
        ("amqtask.delay.6", 6),
        ("amqtask.delay.7", None),
        ("amqtask.delay.1.2", None),
        ("x", None),
    ],
)
def test_a_ladder_exchange_is_recognised_by_its_name(name: str, level: int | None) -> None:
    assert ladder_level(name) == level
