"""The command line's blocking connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from nodes import Node
from publishing import OPTIONS, message
from waiting import wait_for

from amqtask.broker.admin import Admin, QueueState
from amqtask.broker.url import parse_urls
from amqtask.errors import (
    AccessRefused,
    BrokerUnavailable,
    InequivalentArguments,
    MessageTooLarge,
    QueueFull,
    TopologyError,
    Unroutable,
)
from amqtask.topology.declarations import ExchangeDeclare, QueueDeclare
from amqtask.wire.message import Properties

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def admin(vhost_url: str) -> Iterator[Admin]:
    with Admin(parse_urls(vhost_url), OPTIONS) as admin:
        admin.declare(QueueDeclare("q"))
        yield admin


def test_the_version_is_known(admin: Admin, broker_node: Node):
    assert admin.version == broker_node.version
    assert admin.version.at_least(3, 8)


def test_the_state_of_a_queue(admin: Admin):
    admin.publish(message("q"))
    admin.publish(message("q"))
    assert admin.queue_state("q") == QueueState("q", ready=2, consumers=0)
    assert admin.queue_state("missing") is None
    assert admin.queue_state("q") is not None  # the error before has closed a channel, not the connection


def test_existence_of_queues_and_exchanges(admin: Admin):
    assert admin.exists(QueueDeclare("q"))
    assert not admin.exists(QueueDeclare("missing"))
    assert admin.exists(ExchangeDeclare("amq.topic", "topic"))
    assert not admin.exists(ExchangeDeclare("missing", "direct"))


def test_asking_for_an_existing_object_with_other_arguments_is_no_error(admin: Admin):
    assert admin.exists(QueueDeclare("q", arguments={"x-max-length": 1}))
    with pytest.raises(InequivalentArguments):
        admin.declare(QueueDeclare("q", arguments={"x-max-length": 1}))


def test_taken_messages_come_back_unless_acknowledged(admin: Admin):
    for name in ("1", "2", "3"):
        admin.publish(message("q", name))
    first = admin.get("q")
    second = admin.get("q")
    assert first is not None
    assert second is not None
    assert (first.properties.message_id, first.remaining, second.remaining) == ("1", 2, 1)
    admin.ack(second.tag)
    admin.requeue()
    names = []
    while (received := admin.get("q")) is not None:
        names.append(received.properties.message_id)
    assert names == ["1", "3"]


def ready(admin: Admin, queue: str) -> int:
    state = admin.queue_state(queue)
    assert state is not None
    return state.ready


def names(admin: Admin, queue: str, count: int) -> list[str | None]:
    return [received.properties.message_id for received in admin.take(queue, count)]


def test_what_was_taken_as_a_consumer_goes_back_in_its_old_order(admin: Admin):
    admin.declare(QueueDeclare("quorum", arguments={"x-queue-type": "quorum"}))
    sent = [str(number) for number in range(40)]
    for name in sent:
        admin.publish(message("quorum", name))
    for _look in range(3):
        assert names(admin, "quorum", 40) == sent
        admin.requeue()
        wait_for(lambda: ready(admin, "quorum") == 40)
    for received in admin.take("quorum", 40):
        if received.properties.message_id == "7":
            admin.ack(received.tag)
    admin.requeue()
    wait_for(lambda: ready(admin, "quorum") == 39)
    assert names(admin, "quorum", 1000) == [name for name in sent if name != "7"]


def test_what_arrives_while_others_are_held_is_behind_them(admin: Admin, broker_node: Node):
    if broker_node.version.product != "RabbitMQ":
        pytest.skip("the dev broker puts what a quorum queue gets back behind what it has")
    admin.declare(QueueDeclare("quorum", arguments={"x-queue-type": "quorum"}))
    for name in ("1", "2", "3"):
        admin.publish(message("quorum", name))
    assert names(admin, "quorum", 3) == ["1", "2", "3"]
    admin.publish(message("quorum", "4"))
    admin.requeue()
    wait_for(lambda: ready(admin, "quorum") == 4)
    assert names(admin, "quorum", 4) == ["1", "2", "3", "4"]


def test_an_error_elsewhere_does_not_give_taken_messages_back(admin: Admin):
    admin.publish(message("q"))
    received = admin.get("q")
    assert received is not None
    assert admin.queue_state("missing") is None
    with pytest.raises(Unroutable):
        admin.publish(message("nowhere"))
    admin.ack(received.tag)
    assert admin.get("q") is None


def test_taken_messages_come_back_when_it_closes(admin: Admin, vhost_url: str):
    admin.publish(message("q"))
    with Admin(parse_urls(vhost_url), OPTIONS) as other:
        assert other.get("q") is not None
        assert admin.get("q") is None
    received = admin.get("q")
    assert received is not None
    assert received.redelivered


def test_publishing_is_confirmed_and_routed(admin: Admin):
    with pytest.raises(Unroutable, match="nowhere"):
        admin.publish(message("nowhere"))
    with pytest.raises(Unroutable, match="missing"):
        admin.publish(message("k", exchange="missing"))
    with pytest.raises(MessageTooLarge):
        admin.publish(message("q", properties=Properties(headers={"h": "x" * 140_000})))
    admin.declare(QueueDeclare("small", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}))
    admin.publish(message("small"))
    with pytest.raises(QueueFull):
        admin.publish(message("small"))


def test_purge_and_delete(admin: Admin):
    admin.publish(message("q"))
    assert admin.purge("q") == 1
    assert admin.purge("q") == 0
    admin.delete_queue("q")
    admin.delete_queue("q")
    assert admin.queue_state("q") is None
    with pytest.raises(TopologyError, match="no queue 'q'"):
        admin.purge("q")
    with pytest.raises(TopologyError, match="no queue 'q'"):
        admin.get("q")


def test_the_errors_of_connecting_can_be_read(vhost_url: str):
    url = parse_urls(vhost_url)[0]
    for bad, kind, says in (
        (replace(url, password="wr0ng"), AccessRefused, "wrong user or password"),
        (replace(url, vhost="missing"), AccessRefused, "no vhost 'missing'"),
        (replace(url, port=9), BrokerUnavailable, "Connection refused"),
        (replace(url, host="broker.invalid"), BrokerUnavailable, r"broker\.invalid"),
    ):
        with pytest.raises(kind, match=says), Admin((bad,), OPTIONS):
            pass


def test_the_next_broker_is_taken_when_the_first_does_not_answer(vhost_url: str):
    with Admin(parse_urls(f"amqp://127.0.0.1:9/;{vhost_url}"), OPTIONS) as admin:
        assert admin.version.at_least(3, 8)
