"""Where dead letters go, and why."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_client import QUORUM, Client, Server, get, put, size, take, wait_size
from pika.adapters.blocking_connection import BlockingChannel

KINDS = {"classic": {}, "quorum": QUORUM}
TO_DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def dead(channel: BlockingChannel) -> str:
    channel.queue_declare("dead")
    return "dead"


def declare(channel: BlockingChannel, kind: str, name: str = "q", **arguments: Any) -> None:
    given = {**KINDS[kind], **TO_DEAD, **arguments}
    channel.queue_declare(
        name, durable=True, arguments={key: value for key, value in given.items() if value is not None}
    )


def death(channel: BlockingChannel, queue: str = "dead") -> dict[str, Any]:
    """The latest entry of the x-death of the message that arrives."""
    entry: dict[str, Any] = take(channel, queue).headers["x-death"][0]
    return entry


def test_rejected_messages(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind)
    put(channel, "q", "x")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    assert death(channel)["reason"] == "rejected"


def test_nacked_messages(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind)
    put(channel, "q", "a", "b")
    take(channel, "q", ack=False)
    channel.basic_nack(take(channel, "q", ack=False).tag, multiple=True, requeue=False)
    wait_size(channel, "dead", 2)
    assert death(channel)["reason"] == "rejected"


def test_expired_messages(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind)
    put(channel, "q", "x", expiration="50")
    assert death(channel)["reason"] == "expired"


def test_messages_too_many_drop_the_oldest(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind, **{"x-max-length": 1})
    put(channel, "q", "a", "b")
    got = take(channel, "dead")
    assert (got.body, got.headers["x-death"][0]["reason"]) == (b"a", "maxlen")


def test_messages_that_failed_too_often(channel: BlockingChannel, dead: str) -> None:
    declare(channel, "quorum", **{"x-delivery-limit": 1})
    put(channel, "q", "x")
    for _ in range(2):
        channel.basic_reject(take(channel, "q", ack=False).tag, requeue=True)
    assert death(channel)["reason"] == "delivery_limit"


def test_settled_purged_and_deleted_messages_are_no_dead_letters(
    channel: BlockingChannel, kind: str, dead: str
) -> None:
    declare(channel, kind)
    put(channel, "q", "acked", "purged")
    channel.basic_ack(take(channel, "q", ack=False).tag)
    channel.queue_purge("q")
    put(channel, "q", "deleted")
    channel.queue_delete("q")
    assert size(channel, "dead") == 0


def test_without_a_key_a_dead_letter_keeps_its_own(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind, **{"x-dead-letter-exchange": "amq.topic", "x-dead-letter-routing-key": None})
    channel.queue_bind("q", "amq.direct", "its.own")
    channel.queue_bind("dead", "amq.topic", "its.*")
    put(channel, "its.own", "x", exchange="amq.direct")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    got = take(channel, "dead")
    assert (got.method.exchange, got.method.routing_key) == ("amq.topic", "its.own")


def test_a_key_of_the_queue_replaces_the_messages_own(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind)
    put(channel, "q", "x", expiration="0")
    got = take(channel, "dead")
    assert (got.method.exchange, got.method.routing_key) == ("", "dead")


def test_further_keys_of_a_message_stay_with_it(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind, **{"x-dead-letter-routing-key": None, "x-dead-letter-exchange": "amq.direct"})
    channel.queue_bind("dead", "amq.direct", "cc")
    put(channel, "q", "x", expiration="0", headers={"CC": ["cc"]})
    assert take(channel, "dead").headers["CC"] == ["cc"]


def test_a_key_of_the_queue_replaces_further_keys_too(
    channel: BlockingChannel, kind: str, dead: str, server: Server
) -> None:
    declare(channel, kind)
    channel.queue_declare("cc")
    put(channel, "q", "x", headers={"CC": ["cc"]})
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    got = take(channel, "dead")
    assert ("CC" in got.headers) is (server.version >= (4, 0))
    assert size(channel, "cc") == 1


def test_hidden_keys_of_a_message_do_not_stay(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind, **{"x-dead-letter-routing-key": None, "x-dead-letter-exchange": "amq.direct"})
    channel.queue_bind("dead", "amq.direct", "q")
    channel.queue_declare("hidden")
    put(channel, "q", "x", headers={"BCC": ["hidden"]})
    take(channel, "hidden")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    assert "BCC" not in take(channel, "dead").headers
    assert get(channel, "hidden") is None


def test_a_missing_exchange_loses_dead_letters(channel: BlockingChannel, kind: str) -> None:
    declare(channel, kind, **{"x-dead-letter-exchange": "not there"})
    put(channel, "q", "x")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    assert size(channel, "q") == 0


def test_the_exchange_may_be_declared_later(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind, **{"x-dead-letter-exchange": "later"})
    channel.exchange_declare("later", "fanout")
    channel.queue_bind("dead", "later")
    put(channel, "q", "x", expiration="0")
    assert take(channel, "dead").body == b"x"


def test_a_dead_letter_that_expired_has_no_expiration_any_more(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind)
    put(channel, "q", "x", expiration="50")
    got = take(channel, "dead")
    assert got.properties.expiration is None
    assert got.headers["x-death"][0]["original-expiration"] == "50"


def test_a_dead_letter_that_was_rejected_has_no_expiration_either(
    channel: BlockingChannel, kind: str, dead: str
) -> None:
    declare(channel, kind)
    put(channel, "q", "x", expiration="50000")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    got = take(channel, "dead")
    assert got.properties.expiration is None
    assert got.headers["x-death"][0]["original-expiration"] == "50000"


def test_dead_letters_keep_their_order_body_and_properties(channel: BlockingChannel, kind: str, dead: str) -> None:
    declare(channel, kind)
    bodies = [b"%d" % number for number in range(20)]
    put(channel, "q", *bodies, message_id="7", headers={"mine": [1, {"two": 3}]}, priority=2, type="t")
    for _ in bodies:
        last = take(channel, "q", ack=False)
    channel.basic_nack(last.tag, multiple=True, requeue=False)
    wait_size(channel, "dead", 20)
    for body in bodies:
        got = take(channel, "dead")
        assert got.body == body
        assert got.headers["mine"] == [1, {"two": 3}]
        assert (got.properties.message_id, got.properties.priority, got.properties.type) == ("7", 2, "t")


def test_dead_letters_pass_through_bindings_and_alternates(channel: BlockingChannel, kind: str, dead: str) -> None:
    channel.exchange_declare("rest", "fanout")
    channel.exchange_declare("dlx", "direct", arguments={"alternate-exchange": "rest"})
    channel.queue_bind("dead", "rest")
    declare(channel, kind, **{"x-dead-letter-exchange": "dlx"})
    put(channel, "q", "x", expiration="0")
    assert take(channel, "dead").body == b"x"


def test_a_dead_letter_counts_as_new_in_its_next_queue(
    client: Client, channel: BlockingChannel, kind: str, dead: str, server: Server
) -> None:
    declare(channel, kind)
    put(channel, "q", "x", expiration="0")
    assert take(channel, "dead").redelivered is False
    put(channel, "q", "y")
    channel.basic_reject(take(channel, "q", ack=False).tag, requeue=False)
    # 4.3 remembers that it was delivered before it died.
    assert take(channel, "dead").redelivered is (server.version >= (4, 3))
