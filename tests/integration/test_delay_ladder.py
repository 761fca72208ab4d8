"""The delay ladder and retry queues on a real broker: never early, soon after, and any number of times."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pika
import pytest
from declaring import declare
from waiting import wait_for

from amqtask.topology.declarations import Queue, RetryPolicy, Version
from amqtask.topology.delays import (
    Target,
    delay_target,
    exit_step,
    ladder_level,
    ladder_steps,
    retry_name,
    retry_target,
)
from amqtask.topology.layout import queue_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node
    from pika.adapters.blocking_connection import BlockingChannel

pytestmark = pytest.mark.rabbitmq

SOON = 2.0  # seconds; a busy machine is slow, but a message in the wrong rung would be later still
DELAYS = [0.0, 0.05, 0.1, 0.3, 0.75, 1.5, 1.6, 1.7, 2.4, 3.2, 3.5]


@pytest.fixture
def channel(vhost_url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(vhost_url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def publish(channel: BlockingChannel, target: Target, body: bytes) -> float:
    """Publish persistent, confirmed and mandatory; returns the time before it."""
    before = time.time()
    properties = pika.BasicProperties(delivery_mode=2, headers=dict(target.headers), priority=3)
    channel.basic_publish(target.exchange, target.routing_key, body, properties, mandatory=True)
    return before


def receive(channel: BlockingChannel, queue: str) -> tuple[pika.BasicProperties, bytes, float]:
    """The next message, acknowledged, and when it was seen."""

    def get() -> tuple[pika.BasicProperties, bytes, float] | None:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return (properties, body, time.time()) if method else None

    return wait_for(get)


@pytest.mark.parametrize("holder", ["quorum", "classic"])
def test_delayed_messages_never_arrive_early_and_arrive_soon_after(
    channel: BlockingChannel, broker_node: Node, holder: str
) -> None:
    if holder == "classic" and not broker_node.can_make_vhosts:
        pytest.skip("the ladder of a shared vhost is of quorum queues")
    queue = Queue("ladder-arrivals", type="classic")
    declare(channel, queue_steps(queue, Version(3, 10)))
    longest = delay_target([queue.name], timedelta(seconds=max(DELAYS)))
    declare(channel, ladder_steps(ladder_level(longest.exchange), holder))
    due = {}
    for delay in DELAYS:
        body = str(delay).encode()
        due[body] = publish(channel, delay_target([queue.name], timedelta(seconds=delay)), body) + delay
    for _ in DELAYS:
        _properties, body, seen = receive(channel, queue.name)
        late = seen - due.pop(body)
        assert 0 <= late < SOON, f"{body!r} came {late:.3f} s after it was due"
    assert not due


def test_one_delayed_message_reaches_each_queue_of_its_list(channel: BlockingChannel) -> None:
    queues = [Queue("ladder-fan.a", type="classic"), Queue("ladder-fan.b", type="classic")]
    for queue in queues:
        declare(channel, queue_steps(queue, Version(3, 10)))
    declare(channel, ladder_steps(0))
    publish(channel, delay_target([queue.name for queue in queues], timedelta(seconds=0.2)), b"both")
    for queue in queues:
        assert receive(channel, queue.name)[1] == b"both"


def test_a_message_survives_several_passes_through_the_ladder(channel: BlockingChannel) -> None:
    queue = Queue("ladder-passes")
    declare(channel, queue_steps(queue, Version(3, 10)))
    declare(channel, ladder_steps(0))
    target = delay_target([queue.name], timedelta(seconds=0.2))
    for attempt in range(3):
        # like a worker's retry, each pass starts without the x-death header of the one before
        publish(channel, target, str(attempt).encode())
        properties, body, _seen = receive(channel, queue.name)
        assert body == str(attempt).encode()
        assert properties.priority == 3
        assert "x-death" in properties.headers


def test_what_a_full_queue_does_not_take_keeps_nobody_else_waiting(channel: BlockingChannel) -> None:
    full, other = Queue("ladder-full", type="classic", max_length=1), Queue("ladder-other", type="classic")
    for queue in (full, other):
        declare(channel, queue_steps(queue, Version(3, 10)))
    declare(channel, [*ladder_steps(0), exit_step(full.name)])
    channel.basic_publish("", full.name, b"the one that it holds")
    for number in range(40):  # the broker has 32 at once on their way out of a queue
        publish(channel, retry_target(full, timedelta(seconds=0.2), exact=False), str(number).encode())
    publish(channel, retry_target(other, timedelta(seconds=0.2), exact=False), b"other")
    assert receive(channel, other.name)[1] == b"other"


def test_a_long_delay_enters_at_its_highest_digit(channel: BlockingChannel) -> None:
    declare(channel, ladder_steps(6))
    asked = timedelta(days=300, seconds=1)
    publish(channel, delay_target(["nowhere-yet"], asked), b"far away")
    top = f"amqtask.delay.6.{int(asked.total_seconds() * 10) // 16**6}"

    def waiting() -> int:
        return channel.queue_declare(top, passive=True).method.message_count

    assert wait_for(waiting) == 1
    channel.queue_purge(top)


def test_an_exact_retry_takes_one_hop_through_its_own_queue(channel: BlockingChannel) -> None:
    delay = timedelta(seconds=0.4)
    queue = Queue("ladder-retry", retry=RetryPolicy(delays=(delay, timedelta(seconds=60))), max_priority=9)
    declare(channel, queue_steps(queue, Version(3, 10)))
    target = retry_target(queue, delay, exact=True)
    assert target.routing_key == retry_name(queue.name, delay)
    due = publish(channel, target, b"again") + delay.total_seconds()
    properties, body, seen = receive(channel, queue.name)
    assert body == b"again"
    assert properties.priority == 3
    assert 0 <= seen - due < SOON
    assert [entry["queue"] for entry in properties.headers["x-death"]] == [target.routing_key]


def test_the_whole_layout_can_be_declared_twice(channel: BlockingChannel) -> None:
    queue = Queue("ladder-twice", retry=RetryPolicy(delays=(timedelta(seconds=5),)))
    steps = (*queue_steps(queue, Version(3, 10)), *ladder_steps(1))
    declare(channel, steps)
    declare(channel, steps)


def test_looking_at_a_dead_message_again_and_again_never_drops_it(channel: BlockingChannel) -> None:
    queue = Queue("ladder-peek")
    declare(channel, queue_steps(queue, Version(3, 10)))
    channel.basic_publish("", "ladder-peek.dead", b"dead", pika.BasicProperties(delivery_mode=2))
    for _ in range(50):

        def peek() -> bool:
            method, _properties, _body = channel.basic_get("ladder-peek.dead")
            if method is None:
                return False
            channel.basic_nack(method.delivery_tag, requeue=True)
            return True

        wait_for(peek)
    assert receive(channel, "ladder-peek.dead")[1] == b"dead"
