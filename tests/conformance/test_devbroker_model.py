"""The dev broker and RabbitMQ, step by step: the same random work shows a client the same, message for message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from broker_model import QUEUES, STEPS, Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nodes import Node
from waiting import wait_for

from amqtask.testing.devbroker import DevBroker


@contextmanager
def twins(node: Node, broker: DevBroker) -> Iterator[tuple[Client, Client]]:
    """A client of RabbitMQ and one of the dev broker, each in a vhost of its own."""
    name = f"model-{uuid4().hex[:12]}"
    clients: list[Client] = []
    try:
        clients += [Client(node.add_vhost(name)), Client(broker.add_vhost(name) or broker.vhost_url(name))]
        yield clients[0], clients[1]
    finally:
        for client in clients:
            client.close()
        node.delete_vhost(name)
        broker.delete_vhost(name)


def settled(real: Client, dev: Client) -> None:
    """Wait until RabbitMQ's queues hold as many messages as the dev broker's: some of its work is asynchronous."""
    wanted = dev.counts()
    try:
        wait_for(lambda: real.counts() == wanted, 20)
    except AssertionError:
        assert real.counts() == wanted


def without_quorum(steps: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The steps that name no quorum queue, directly or by a binding."""
    return [step for step in steps if "quorum" not in step and step[:3] != ("publish", "directs", "a.b")]


@pytest.fixture(scope="module")
def dev_broker() -> Iterator[DevBroker]:
    with DevBroker() as broker:
        yield broker


@pytest.mark.rabbitmq_only("being what the dev broker is compared with")
@pytest.mark.timeout(600)  # it is many tests in one
@settings(
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
def test_a_client_sees_the_same_on_both_brokers(
    broker_node: Node, dev_broker: DevBroker, steps: list[tuple[Any, ...]]
) -> None:
    if not broker_node.version.at_least(4, 3):  # the dev broker's quorum queues are those of 4.3
        steps = without_quorum(steps)
    with twins(broker_node, dev_broker) as (real, dev):
        for number, step in enumerate(steps):
            seen, wanted = dev.do(step), real.do(step)
            assert seen == wanted, f"step {number} {step}: dev broker {seen}, RabbitMQ {wanted}"
            settled(real, dev)
        for queue in QUEUES:  # what is left comes out in the same order, with the same headers
            while (wanted := real.get(queue)) is not None:
                assert dev.get(queue) == wanted
            assert dev.get(queue) is None
