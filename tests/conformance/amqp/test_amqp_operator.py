"""What an operator does to connections: vhosts deleted, connections closed, publishers blocked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from amqp_wire import Gone, Wire, header_payload
from nodes import Node
from pamqp.commands import Basic, Channel, Connection, Queue
from waiting import wait_for


@pytest.fixture
def blocked_node(own_node: Node) -> Iterator[Node]:
    """A broker of one's own, that is unblocked after the test."""
    yield own_node
    own_node.unblock()


@pytest.fixture
def own_wire(own_node: Node, own_vhost: str) -> Iterator[Wire]:
    """A channel on the broker that may be blocked, with the queue ``q``."""
    with Wire(own_vhost) as wire:
        wire.login()
        wire.open_channel()
        wire.call(Queue.Declare(queue="q"), Queue.DeclareOk)
        yield wire


def ended(wire: Wire) -> bool:
    """Wait until the broker ends the connection, having said why or not."""
    try:
        return wire.expect(Connection.Close, 0, timeout=10).reply_code == 320
    except Gone:
        return True


def test_deleting_a_vhost_ends_its_connections(broker_node: Node) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    with Wire(broker_node.add_vhost(name)) as wire:
        wire.login()
        wire.open_channel()
        broker_node.delete_vhost(name)
        assert ended(wire)


def test_closed_connections_end(own_node: Node, own_wire: Wire) -> None:
    own_node.close_connections()
    assert ended(own_wire)


def publish(wire: Wire) -> None:
    wire.publish(Basic.Publish(routing_key="q"), header_payload(1), b"x")


def test_a_blocked_publisher_is_told_and_told_again_when_it_may_go_on(blocked_node: Node, own_wire: Wire) -> None:
    publish(own_wire)
    own_wire.call(Basic.Qos(prefetch_count=1), Basic.QosOk)
    blocked_node.block()
    publish(own_wire)
    assert own_wire.expect(Connection.Blocked, 0, timeout=10).reason
    blocked_node.unblock()
    own_wire.expect(Connection.Unblocked, 0, timeout=10)
    asked = Queue.Declare(queue="q", passive=True)
    assert wait_for(lambda: own_wire.call(asked, Queue.DeclareOk).message_count) == 2


def test_who_does_not_publish_is_not_held_up(blocked_node: Node, own_vhost: str, own_wire: Wire) -> None:
    publish(own_wire)
    blocked_node.block()
    with Wire(own_vhost) as other:
        other.login()
        other.open_channel()
        other.call(Basic.Consume(queue="q"), Basic.ConsumeOk)
        other.send(Basic.Ack(other.content(Basic.Deliver).method.delivery_tag))
        other.call(Channel.Close(200, "", 0, 0), Channel.CloseOk)


def test_a_client_that_does_not_know_of_blocking_is_not_told(blocked_node: Node, own_vhost: str) -> None:
    with Wire(own_vhost) as wire:
        wire.login(capable=False)
        wire.open_channel()
        blocked_node.block()
        publish(wire)
        assert wire.sent_nothing()
