"""Who may use a queue and when it goes: exclusive, auto-delete, delete, purge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from amqp_client import QUORUM, Client, Inbox, consumers, disconnected, exists, get, put, refused, size, take
from pika.adapters.blocking_connection import BlockingChannel
from waiting import wait_for

Connect = Callable[..., Client]


@pytest.fixture
def stranger(connect: Connect) -> BlockingChannel:
    """A channel of another connection."""
    return connect().channel()


@pytest.mark.parametrize("operation", ["declare", "passive", "bind", "consume", "get", "purge", "delete"])
def test_an_exclusive_queue_is_locked_to_its_connection(
    channel: BlockingChannel, stranger: BlockingChannel, vhost: str, operation: str
) -> None:
    channel.queue_declare("mine", exclusive=True)
    use = {
        "declare": lambda: stranger.queue_declare("mine", exclusive=True),
        "passive": lambda: stranger.queue_declare("mine", passive=True),
        "bind": lambda: stranger.queue_bind("mine", "amq.direct", "k"),
        "consume": lambda: stranger.basic_consume("mine", lambda *_: None),
        "get": lambda: stranger.basic_get("mine"),
        "purge": lambda: stranger.queue_purge("mine"),
        "delete": lambda: stranger.queue_delete("mine"),
    }
    with refused(
        405,
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '{vhost}'. It could be "
        "originally declared on another connection or the exclusive property value does not match that of the "
        "original declaration.",
    ):
        use[operation]()


def test_everybody_may_publish_to_an_exclusive_queue(channel: BlockingChannel, stranger: BlockingChannel) -> None:
    channel.queue_declare("mine", exclusive=True)
    put(stranger, "mine", "x")
    assert take(channel, "mine").body == b"x"


def test_a_shared_queue_cannot_become_exclusive(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    with refused(405, "RESOURCE_LOCKED"):
        channel.queue_declare("q", exclusive=True)


def test_an_exclusive_queue_goes_with_its_connection(connect: Connect, client: Client) -> None:
    owner = connect()
    owner.channel().queue_declare("mine", exclusive=True)
    owner.close()
    wait_for(lambda: not exists(client, "mine"))


def test_an_auto_delete_queue_goes_with_its_last_consumer(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q", auto_delete=True)
    one, two = Inbox(channel, "q"), Inbox(channel, "q")
    one.cancel()
    assert exists(client, "q")
    two.cancel()
    assert not exists(client, "q")


def test_an_auto_delete_queue_that_had_no_consumer_stays(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q", auto_delete=True)
    put(channel, "q", "x")
    assert get(channel, "q") is not None
    assert exists(client, "q")


@pytest.mark.parametrize("how", ["channel", "connection"])
def test_an_auto_delete_queue_goes_with_the_channel_of_its_last_consumer(
    connect: Connect, client: Client, how: str
) -> None:
    other = connect()
    channel = other.channel()
    channel.queue_declare("q", auto_delete=True)
    Inbox(channel, "q")
    (channel if how == "channel" else other).close()
    wait_for(lambda: not exists(client, "q"))


def test_deleting_returns_how_many_messages_went(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a", "b", "c")
    assert channel.queue_delete("q").method.message_count == 3


def test_deleting_a_missing_queue_is_fine(channel: BlockingChannel) -> None:
    assert channel.queue_delete("missing").method.message_count == 0


def test_a_queue_with_consumers_is_kept_on_request(channel: BlockingChannel, vhost: str) -> None:
    channel.queue_declare("q")
    Inbox(channel, "q")
    with refused(406, f"PRECONDITION_FAILED - queue 'q' in vhost '{vhost}' in use"):
        channel.queue_delete("q", if_unused=True)


def test_a_queue_with_messages_is_kept_on_request(channel: BlockingChannel, vhost: str) -> None:
    channel.queue_declare("q")
    put(channel, "q", "x")
    with refused(406, f"PRECONDITION_FAILED - queue 'q' in vhost '{vhost}' not empty"):
        channel.queue_delete("q", if_empty=True)


def test_an_unused_and_empty_queue_is_deleted_on_request(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    channel.queue_delete("q", if_unused=True, if_empty=True)
    assert not exists(client, "q")


@pytest.mark.parametrize("option", ["if-unused", "if-empty"])
def test_conditions_of_deleting_are_not_for_quorum_queues(channel: BlockingChannel, vhost: str, option: str) -> None:
    channel.queue_declare("q", durable=True, arguments=QUORUM)
    text = (
        f"NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '{vhost}'. queue.delete operations with {option} flag set "
        "are not supported by quorum queues"
    )
    with disconnected(540, text):
        channel.queue_delete("q", **{option.replace("-", "_"): True})


def test_a_deleted_queue_takes_its_messages_and_bindings_along(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    channel.queue_bind("q", "amq.fanout")
    put(channel, "q", "x")
    channel.queue_delete("q")
    channel.queue_declare("q")
    put(channel, "", "y", exchange="amq.fanout")
    assert size(channel, "q") == 0


def test_purging_takes_ready_messages_and_leaves_unsettled_ones(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "held", "a", "b")
    held = take(channel, "q", ack=False)
    assert channel.queue_purge("q").method.message_count == 2
    assert size(channel, "q") == 0
    channel.basic_nack(held.tag)
    assert take(channel, "q").body == b"held"


def test_purging_a_missing_queue_is_refused(channel: BlockingChannel) -> None:
    with refused(404, "NOT_FOUND - no queue 'missing'"):
        channel.queue_purge("missing")


def test_a_consumer_learns_that_its_queue_was_deleted(client: Client, channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    inbox = Inbox(client.channel(), "q")
    channel.queue_delete("q")
    wait_for(lambda: client.process(0.02) or inbox.cancelled)


def test_settling_a_delivery_of_a_deleted_queue_is_harmless(channel: BlockingChannel) -> None:
    channel.queue_declare("q")
    put(channel, "q", "a", "b")
    held = take(channel, "q", ack=False)
    channel.queue_delete("q")
    channel.basic_ack(held.tag)
    channel.queue_declare("q")
    assert (size(channel, "q"), consumers(channel, "q")) == (0, 0)
