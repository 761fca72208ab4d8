"""The queue of a long chain: which segment a worker finds in it, whatever was delivered twice or lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from amqtask.canvas.chain import chain
from amqtask.canvas.parking import find, messages_of
from amqtask.canvas.plan import PlanContext, plan
from amqtask.canvas.signature import Signature
from amqtask.errors import DecodeError, EncodeError
from amqtask.wire.codec import serializers

JSON = serializers.get("json")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Queue:
    """As RabbitMQ keeps one: what is not acknowledged goes back to its place."""

    def __init__(self, messages):
        self.waiting, self.taken = list(messages), []

    def get(self, _queue):
        if not self.waiting:
            return None
        message = self.waiting.pop(0)
        self.taken.append(message)
        return SimpleNamespace(tag=id(message), properties=message.properties, body=message.body)

    def ack(self, tag):
        self.taken = [message for message in self.taken if id(message) != tag]

    def requeue(self):
        self.waiting, self.taken = [*self.taken, *self.waiting], []


@pytest.fixture
def parked():
    work = chain(Signature("add", (number, NOW)) for number in range(50))
    (parked,) = plan(work, context=PlanContext(park_after=20)).parked
    return parked


@pytest.fixture
def queue(parked):
    return Queue(messages_of(parked, JSON))


def test_segments_are_found_in_their_order_with_arguments_of_every_type(parked, queue):
    for number, segment in enumerate(parked.segments, 1):
        steps = find(queue, parked.queue, number, JSON)
        assert [step["task"] for step in steps] == [step["task"] for step in segment]
        assert steps[0]["args"] == list(segment[0]["args"])
        assert steps[0]["args"][1] == NOW


def test_a_segment_stays_until_a_later_one_is_wanted(parked, queue):
    assert find(queue, parked.queue, 1, JSON) == find(queue, parked.queue, 1, JSON)
    assert find(queue, parked.queue, 2, JSON) is not None
    assert len(queue.waiting) == len(parked.segments) - 1


def test_a_duplicate_of_what_is_done_finds_nothing_and_takes_nothing(parked, queue):
    assert find(queue, parked.queue, 2, JSON) is not None
    assert find(queue, parked.queue, 1, JSON) is None
    assert find(queue, parked.queue, 2, JSON) is not None
    assert find(Queue([]), parked.queue, 1, JSON) is None


def test_the_messages_are_small_and_named_by_their_place(parked):
    messages = messages_of(parked, JSON)
    assert {(message.exchange, message.routing_key) for message in messages} == {("", parked.queue)}
    assert [message.properties.message_id for message in messages] == [
        f"{parked.queue}/{number}" for number in range(1, len(messages) + 1)
    ]


@pytest.mark.parametrize("body", [b"{", b"5", b"[5]"])
def test_what_is_no_segment_is_refused(parked, queue, body):
    queue.waiting[0] = queue.waiting[0]._replace(body=body)
    with pytest.raises(DecodeError, match="can't be read"):
        find(queue, parked.queue, 1, JSON)


def test_a_foreign_message_in_the_queue_ends_the_search(parked, queue):
    queue.waiting.insert(0, queue.waiting[0]._replace(properties=queue.waiting[0].properties._replace(headers=None)))
    assert find(queue, parked.queue, 1, JSON) is None


def test_an_argument_that_cannot_be_written_is_an_encode_error():
    work = chain(Signature("add", (object(),)) for _ in range(30))
    (parked,) = plan(work, context=PlanContext(park_after=20)).parked
    with pytest.raises(EncodeError, match="can't be written by json"):
        messages_of(parked, JSON)
