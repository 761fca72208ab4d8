"""Direct reply-to: answers without a queue."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from amqp_client import Client, Inbox, Server, disconnected, put, refused, size, take
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

REPLIES = "amq.rabbitmq.reply-to"
Connect = Callable[..., Client]


@pytest.fixture
def asking(connect: Connect, channel: BlockingChannel) -> BlockingChannel:
    """A channel of another connection that asks; ``channel`` answers what comes to ``questions``."""
    channel.queue_declare("questions")
    return connect().channel()


def test_an_answer_reaches_who_asked(asking: BlockingChannel, channel: BlockingChannel) -> None:
    answers = Inbox(asking, REPLIES, auto_ack=True)
    put(asking, "questions", "?", reply_to=REPLIES, correlation_id="7")
    question = take(channel, "questions")
    reply_to = question.properties.reply_to
    assert reply_to.startswith(f"{REPLIES}.")
    put(channel, reply_to, "!", correlation_id=question.properties.correlation_id)
    (answer,) = answers.wait(1)
    assert (answer.body, answer.properties.correlation_id) == (b"!", "7")
    assert (answer.method.exchange, answer.method.routing_key, answer.redelivered) == ("", reply_to, False)


def test_every_channel_gets_its_own_answers(connect: Connect, channel: BlockingChannel) -> None:
    channel.queue_declare("questions")
    client = connect()
    askers = [client.channel() for _ in range(2)]
    inboxes = [Inbox(one, REPLIES, auto_ack=True) for one in askers]
    for name, one in zip("ab", askers, strict=True):
        put(one, "questions", name, reply_to=REPLIES)
    for _ in askers:
        question = take(channel, "questions")
        put(channel, question.properties.reply_to, question.body.upper())
    for inbox in inboxes:
        inbox.wait(1)
    assert [inbox.bodies for inbox in inboxes] == [[b"A"], [b"B"]]


def test_answers_have_to_be_read_without_acknowledgement(channel: BlockingChannel) -> None:
    with refused(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        channel.basic_consume(REPLIES, lambda *_: None)


def test_a_channel_reads_answers_once(channel: BlockingChannel) -> None:
    Inbox(channel, REPLIES, auto_ack=True)
    with refused(406, "PRECONDITION_FAILED - reply consumer already set"):
        channel.basic_consume(REPLIES, lambda *_: None, auto_ack=True)


def test_asking_without_reading_answers_is_refused(asking: BlockingChannel) -> None:
    put(asking, "questions", "?", reply_to=REPLIES)
    with refused(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        asking.queue_declare("questions")


def test_an_answer_to_somebody_who_left_reaches_nobody(
    asking: BlockingChannel, channel: BlockingChannel, server: Server
) -> None:
    Inbox(asking, REPLIES, auto_ack=True)
    put(asking, "questions", "?", reply_to=REPLIES)
    reply_to = take(channel, "questions").properties.reply_to
    asking.close()
    put(channel, reply_to, "!")
    if server.version < (4, 3):  # 4.3 does not look
        with pytest.raises(UnroutableError):
            channel.basic_publish("", reply_to, b"!", mandatory=True)


def test_an_answer_to_an_address_that_never_was_reaches_nobody(channel: BlockingChannel, server: Server) -> None:
    if server.version >= (4, 3):
        with pytest.raises(UnroutableError):
            channel.basic_publish("", f"{REPLIES}.g1h2AAxyZWFs.c2VjcmV0", b"!", mandatory=True)
    else:
        with disconnected(541):
            channel.basic_publish("", f"{REPLIES}.g1h2AAxyZWFs.c2VjcmV0", b"!", mandatory=True)


def test_an_answer_that_arrives_and_is_mandatory(
    asking: BlockingChannel, channel: BlockingChannel, server: Server
) -> None:
    answers = Inbox(asking, REPLIES, auto_ack=True)
    put(asking, "questions", "?", reply_to=REPLIES)
    address = take(channel, "questions").properties.reply_to
    if server.version >= (4, 3):
        channel.basic_publish("", address, b"!", mandatory=True)
    else:  # returned although it arrives
        with pytest.raises(UnroutableError):
            channel.basic_publish("", address, b"!", mandatory=True)
    answers.wait(1)


def test_whoever_waits_for_answers_can_be_asked_about(asking: BlockingChannel, channel: BlockingChannel) -> None:
    Inbox(asking, REPLIES, auto_ack=True)
    put(asking, "questions", "?", reply_to=REPLIES)
    address = take(channel, "questions").properties.reply_to
    ok = channel.queue_declare(address, passive=True).method
    assert (ok.queue, ok.message_count, ok.consumer_count) == (address, 0, 1)


def test_the_name_of_the_answers_can_be_asked_for(channel: BlockingChannel) -> None:
    assert channel.queue_declare(REPLIES, passive=True).method.queue == REPLIES


def test_reading_answers_ends_with_a_cancellation(asking: BlockingChannel, channel: BlockingChannel) -> None:
    inbox = Inbox(asking, REPLIES, auto_ack=True)
    inbox.cancel()
    again = Inbox(asking, REPLIES, auto_ack=True)
    put(asking, "questions", "?", reply_to=REPLIES)
    put(channel, take(channel, "questions").properties.reply_to, "!")
    again.wait(1)
    assert size(channel, "questions") == 0


def test_an_unsettled_question_is_asked_again_with_the_same_address(
    asking: BlockingChannel, channel: BlockingChannel
) -> None:
    answers = Inbox(asking, REPLIES, auto_ack=True)
    put(asking, "questions", "?", reply_to=REPLIES)
    first = take(channel, "questions", ack=False)
    channel.basic_nack(first.tag)
    second = take(channel, "questions")
    assert second.properties.reply_to == first.properties.reply_to
    put(channel, second.properties.reply_to, "!")
    answers.wait(1)
