"""Topologies of apps that are members of a Celery deployment."""

from __future__ import annotations

import pytest

from amqtask import Amqtask, Exchange, Queue
from amqtask.errors import DocumentError, TopologyError
from amqtask.topology.checks import check
from amqtask.topology.declarations import ExchangeDeclare, QueueBind, QueueDeclare, Version
from amqtask.topology.document import loads
from amqtask.topology.layout import topology_steps
from amqtask.topology.model import Topology, opened

V = Version(3, 10)


def steps_of(topology, *queues):
    return topology_steps(topology, V, queues or None)


def test_plain_queue_is_declared_as_celery_declares_it():
    assert steps_of(opened(Topology.from_code(default_queue="celery"))) == (
        ExchangeDeclare("celery", "direct", lenient=True),
        QueueDeclare("celery.dead", lenient=True),
        QueueDeclare("celery", lenient=True),
        QueueBind("celery", "celery", "celery"),
    )


def test_any_other_name_is_a_plain_queue_too():
    topology = opened(Topology.from_code(default_queue="celery"))
    assert QueueDeclare("emails", lenient=True) in steps_of(topology, "emails")
    assert ExchangeDeclare("celery", "direct", lenient=True) not in steps_of(topology, "emails")
    with pytest.raises(TopologyError, match="no queue 'emails'"):
        Topology.from_code(default_queue="celery").queue("emails")


def test_queues_of_a_file_keep_what_it_says_and_its_defaults_are_for_them_alone():
    text = "version: 1\ndefaults:\n  queue: {type: classic, max_length: 5}\nqueues:\n  work: {}\n"
    topology = loads(text, default_queue="celery", celery=True)
    work, celery = topology.queue("work"), topology.queue("celery")
    assert (work.plain, work.max_length) == (False, 5)
    assert celery == Queue("celery", Exchange("celery"), "celery", plain=True)


def test_queues_in_code_are_plain_unless_they_ask_for_what_celery_lacks():
    queues = [Queue("a", Exchange("xa"), "key"), Queue("b"), Queue("c", type="quorum"), Queue("d", max_priority=5)]
    topology = opened(Topology.from_code(queues, default_queue="celery"))
    assert {name: queue.plain for name, queue in topology.queues.items()} == {
        "a": True,
        "b": True,
        "c": False,
        "d": True,
        "celery": True,
    }
    steps = steps_of(topology)
    assert QueueBind("a", "xa", "key") in steps
    assert QueueBind("b", "b", "b") in steps
    assert QueueDeclare("d", arguments={"x-max-priority": 5}, lenient=True) in steps


def test_routes_may_lead_to_queues_that_are_not_declared():
    text = "version: 1\nqueues:\n  work: {}\nroutes:\n  - {task: a, queue: theirs}\n"
    assert [(route.task, route.queue) for route in loads(text, celery=True).routes] == [("a", "theirs")]
    with pytest.raises(DocumentError, match="theirs"):
        loads(text)
    assert check(opened(Topology.from_code([], {"a": "theirs"}))) == []


def test_interop_implies_settings_that_the_user_may_overrule():
    app = Amqtask("shop", interop="celery")
    assert (app.conf.task_serializer, app.conf.task_default_queue) == ("json", "celery")
    assert app.conf.accept_content[0] == "json"
    own = Amqtask("shop", interop="celery", task_serializer="msgpack", task_default_queue="work")
    assert (own.conf.task_serializer, own.conf.task_default_queue) == ("msgpack", "work")
    assert own.topology.default_queue.plain
    assert not Amqtask("shop").topology.default_queue.plain
