"""Declaring topologies: order, refusals that can be read, and what happens when the connection goes meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from proxy import Proxy
from publishing import OPTIONS, declare, drain, message, transport

from amqtask.broker.admin import Admin
from amqtask.broker.sync import SyncTransport
from amqtask.broker.url import parse_urls
from amqtask.errors import AccessRefused, BrokerUnavailable, InequivalentArguments, TopologyError
from amqtask.topology.declarations import ExchangeBind, ExchangeDeclare, QueueBind, QueueDeclare, Step, Version

pytestmark = pytest.mark.rabbitmq

STEPS: tuple[Step, ...] = (
    ExchangeDeclare("in", "fanout"),
    ExchangeDeclare("tasks", "topic"),
    QueueDeclare("emails", arguments={"x-max-priority": 5}),
    QueueDeclare("safe", arguments={"x-queue-type": "quorum"}),
    QueueBind("emails", "tasks", "email.#"),
    QueueBind("safe", "tasks", "#"),
    ExchangeBind("tasks", "in"),
)


@pytest.fixture
def sender(vhost_url: str) -> Iterator[SyncTransport]:
    made = transport(vhost_url)
    yield made
    made.close()


def test_everything_of_a_layout_is_there_and_connected(sender: SyncTransport, vhost_url: str):
    versions: list[Version] = []

    def layout(version: Version) -> tuple[Step, ...]:
        versions.append(version)
        return STEPS

    sender.declare(layout)
    assert versions[0].at_least(3, 8)
    sender.send(message("email.welcome", "1", exchange="in"), timeout=60)
    assert drain(vhost_url, "emails") == {"1": 1}
    assert drain(vhost_url, "safe") == {"1": 1}


def test_declaring_again_changes_nothing(sender: SyncTransport):
    for _ in range(3):
        sender.declare(lambda _version: STEPS)


def test_an_empty_layout_is_no_error(sender: SyncTransport):
    sender.declare(lambda _version: ())


@pytest.mark.parametrize(
    ("step", "argument", "wanted", "existing"),
    [
        (QueueDeclare("emails", arguments={"x-max-priority": 9}), "x-max-priority", "9", "5"),
        (QueueDeclare("emails", arguments={"x-max-priority": 5, "x-message-ttl": 10}), "x-message-ttl", "10", "none"),
        (QueueDeclare("emails", durable=False, arguments={"x-max-priority": 5}), "durable", "false", "true"),
        (QueueDeclare("safe"), "x-queue-type", "none|classic", "quorum"),  # from 4.0 on, the default has a name
        (ExchangeDeclare("tasks", "direct"), "type", "direct", "topic"),
    ],
)
def test_other_arguments_are_told_apart(
    sender: SyncTransport, step: QueueDeclare | ExchangeDeclare, argument: str, wanted: str, existing: str
):
    sender.declare(lambda _version: STEPS)
    with pytest.raises(InequivalentArguments) as caught:
        sender.declare(lambda _version: [step])
    error = caught.value
    assert (error.name, error.argument) == (step.name, argument)
    assert re.search(wanted, error.wanted)
    assert existing in error.existing


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (QueueBind("emails", "missing"), "no exchange 'missing'"),
        (QueueBind("missing", "tasks"), "no queue 'missing'"),
        (QueueDeclare("bad", arguments={"x-message-ttl": "soon"}), "x-message-ttl"),
        (ExchangeDeclare("odd", "x-no-such-type"), "x-no-such-type"),
    ],
)
def test_a_refused_step_is_named_and_the_connection_goes_on(sender: SyncTransport, step: Step, says: str):
    sender.declare(lambda _version: STEPS)
    with pytest.raises(TopologyError, match=says):
        sender.declare(lambda _version: [step])
    sender.send(message("email.x", exchange="tasks"), timeout=60)


def test_a_reserved_name_is_refused(sender: SyncTransport):
    with pytest.raises(AccessRefused, match=r"amq\.mine"):
        sender.declare(lambda _version: [QueueDeclare("amq.mine")])


def test_an_error_of_the_layout_itself_comes_through(sender: SyncTransport):
    def layout(_version: Version) -> tuple[Step, ...]:
        raise TopologyError("needs RabbitMQ 9")

    with pytest.raises(TopologyError, match="needs RabbitMQ 9"):
        sender.declare(layout)


def test_an_exclusive_queue_of_another_connection_is_told(sender: SyncTransport, vhost_url: str):
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        admin.declare(QueueDeclare("mine", durable=False, exclusive=True))
        with pytest.raises(TopologyError, match="exclusive"):
            sender.declare(lambda _version: [QueueDeclare("mine", durable=False, exclusive=True)])


def test_declaring_survives_the_loss_of_the_connection(vhost_url: str):
    port = parse_urls(vhost_url)[0].port
    many = [QueueDeclare(f"q{number}") for number in range(100)]
    with Proxy("127.0.0.1", port) as proxy:
        sender = transport(proxy.url(vhost_url))
        sender.declare(lambda _version: [])
        proxy.cut_after(2000)
        sender.declare(lambda _version: many)
        assert proxy.connections == 2
        sender.close()
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        assert all(admin.exists(step) for step in many)


def test_declaring_without_a_broker_is_told(monkeypatch: pytest.MonkeyPatch):
    from amqtask.broker import publisher

    monkeypatch.setattr(publisher.Publisher.declare, "__defaults__", (0.3,))
    sender = transport("amqp://127.0.0.1:9/")
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9"):
        sender.declare(lambda _version: STEPS)
    sender.close()


def test_declaring_with_a_wrong_password_is_told_at_once(vhost_url: str):
    sender = SyncTransport((replace(parse_urls(vhost_url)[0], password="nope"),), OPTIONS)
    with pytest.raises(AccessRefused):
        sender.declare(lambda _version: STEPS)
    sender.close()


def test_what_exists_needs_no_second_connection(vhost_url: str):
    declare(vhost_url, "there")
    with Proxy("127.0.0.1", parse_urls(vhost_url)[0].port) as proxy:
        sender = transport(proxy.url(vhost_url))
        sender.declare(lambda _version: [QueueDeclare("there")])
        sender.send(message("there"), timeout=60)
        assert proxy.connections == 1
        sender.close()
