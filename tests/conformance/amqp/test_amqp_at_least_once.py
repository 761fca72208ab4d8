"""Dead-lettering of quorum queues that waits until the target has confirmed."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_client import QUORUM, put, size, take, wait_size
from pika.adapters.blocking_connection import BlockingChannel

SAFE = {
    **QUORUM,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "dead",
}


def declare(channel: BlockingChannel, **arguments: Any) -> None:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    channel.queue_declare("q", durable=True, arguments={**SAFE, **given})


@pytest.mark.parametrize("target", ["classic", "quorum"])
def test_expired_messages_arrive(channel: BlockingChannel, target: str) -> None:
    channel.queue_declare("dead", durable=True, arguments={"x-queue-type": target})
    declare(channel, x_message_ttl=50)
    put(channel, "q", "a", "b", "c")
    wait_size(channel, "dead", 3)
    got = [take(channel, "dead") for _ in range(3)]
    assert [one.body for one in got] == [b"a", b"b", b"c"]
    assert got[0].headers["x-death"][0]["reason"] == "expired"


def test_rejected_messages_arrive(channel: BlockingChannel) -> None:
    channel.queue_declare("dead", durable=True)
    declare(channel)
    put(channel, "q", "a")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    assert take(channel, "dead").headers["x-death"][0]["reason"] == "rejected"


def test_messages_that_failed_too_often_arrive(channel: BlockingChannel) -> None:
    channel.queue_declare("dead", durable=True)
    declare(channel, x_delivery_limit=0)
    put(channel, "q", "a")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=True)
    assert take(channel, "dead").headers["x-death"][0]["reason"] == "delivery_limit"


def test_a_ladder_of_queues_delivers_everything(channel: BlockingChannel) -> None:
    channel.queue_declare("dead", durable=True, arguments=QUORUM)
    declare(channel, x_message_ttl=30)
    channel.queue_declare("q2", durable=True, arguments={**SAFE, "x-message-ttl": 30, "x-dead-letter-routing-key": "q"})
    bodies = [b"%d" % number for number in range(50)]
    put(channel, "q2", *bodies)
    wait_size(channel, "dead", 50)
    assert [take(channel, "dead").body for _ in bodies] == bodies
    assert (size(channel, "q"), size(channel, "q2")) == (0, 0)
