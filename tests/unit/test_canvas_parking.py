"""The queue of a long chain: which segment a worker finds in it, whatever was delivered twice or lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from signing_settings import PLAIN, keyed

from amqtask.canvas.chain import chain
from amqtask.canvas.parking import find, messages_of
from amqtask.canvas.plan import PlanContext
from amqtask.canvas.planning import plan
from amqtask.canvas.replacing import position
from amqtask.canvas.signature import Signature
from amqtask.errors import ConfigError, DecodeError, EncodeError
from amqtask.wire.codec import serializers
from amqtask.wire.message import TaskMessage

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
    return Queue(messages_of(parked, JSON, PLAIN))


def test_segments_are_found_in_their_order_with_arguments_of_every_type(parked, queue):
    for number, segment in enumerate(parked.segments, 1):
        steps = find(queue, parked.queue, number, ["json"], PLAIN)
        assert [step["task"] for step in steps] == [step["task"] for step in segment]
        assert steps[0]["args"] == list(segment[0]["args"])
        assert steps[0]["args"][1] == NOW


def test_a_segment_stays_until_a_later_one_is_wanted(parked, queue):
    assert find(queue, parked.queue, 1, ["json"], PLAIN) == find(queue, parked.queue, 1, ["json"], PLAIN)
    assert find(queue, parked.queue, 2, ["json"], PLAIN) is not None
    assert len(queue.waiting) == len(parked.segments) - 1


def test_who_tells_the_steps_of_a_failed_chain_leaves_them_for_a_replay(parked, queue):
    count = len(parked.segments)
    assert all(find(queue, parked.queue, n, ["json"], PLAIN, keep=True) for n in range(1, count + 1))
    assert len(queue.waiting) == count
    assert find(queue, parked.queue, 1, ["json"], PLAIN) is not None


def test_a_duplicate_of_what_is_done_finds_nothing_and_takes_nothing(parked, queue):
    assert find(queue, parked.queue, 2, ["json"], PLAIN) is not None
    assert find(queue, parked.queue, 1, ["json"], PLAIN) is None
    assert find(queue, parked.queue, 2, ["json"], PLAIN) is not None
    assert find(Queue([]), parked.queue, 1, ["json"], PLAIN) is None


def test_the_messages_are_small_and_named_by_their_place(parked):
    messages = messages_of(parked, JSON, PLAIN)
    assert {(message.exchange, message.routing_key) for message in messages} == {("", parked.queue)}
    assert [message.properties.message_id for message in messages] == [
        f"{parked.queue}/{number}" for number in range(1, len(messages) + 1)
    ]


@pytest.mark.parametrize("body", [b"{", b"5", b"[5]"])
def test_what_is_no_segment_is_refused(parked, queue, body):
    queue.waiting[0] = queue.waiting[0]._replace(body=body)
    with pytest.raises(DecodeError, match="can't be read"):
        find(queue, parked.queue, 1, ["json"], PLAIN)


def test_a_foreign_message_in_the_queue_ends_the_search(parked, queue):
    queue.waiting.insert(0, queue.waiting[0]._replace(properties=queue.waiting[0].properties._replace(headers=None)))
    assert find(queue, parked.queue, 1, ["json"], PLAIN) is None


def test_where_signatures_are_required_only_signed_segments_count(parked, caplog):
    signer = keyed("k")
    right, forged = messages_of(parked, JSON, signer), messages_of(parked, JSON, PLAIN)
    moved = right[1].properties._replace(headers={**right[1].properties.headers, "x-amqtask-segment": 1})
    queue = Queue([*forged, right[1]._replace(properties=moved), *right])
    steps = find(queue, parked.queue, 1, ["json"], signer)
    assert [step["task"] for step in steps] == [step["task"] for step in parked.segments[0]]
    assert len(caplog.messages) == 1
    with pytest.raises(ConfigError, match="message_signing_key"):
        messages_of(parked, JSON, keyed())


def test_a_chain_whose_segment_has_no_signature_fails_and_does_not_just_stop(parked):
    queue = Queue(messages_of(parked, JSON, PLAIN))
    with pytest.raises(DecodeError, match=r"segment 1 of amqtask\.chain\..* no signature of a known key"):
        find(queue, parked.queue, 1, ["json"], keyed("k"))
    assert find(queue, parked.queue, 1, ["json"], PLAIN), "it can go on where they are not required"


def test_an_argument_that_cannot_be_written_is_an_encode_error():
    work = chain(Signature("add", (object(),)) for _ in range(30))
    (parked,) = plan(work, context=PlanContext(park_after=20)).parked
    with pytest.raises(EncodeError, match="can't be written by json"):
        messages_of(parked, JSON, PLAIN)


@pytest.mark.parametrize("queue", ["orders", "", None, "amqtask.chord.g", "amqtask.chain." + "é" * 125])
def test_only_the_queue_of_a_chain_is_read_for_what_leaves_it_is_gone(queue):
    with pytest.raises(DecodeError, match="not a queue of a chain"):
        position(TaskMessage("amqtask.chain_more", "t", kwargs={"queue": queue, "segment": 1}))
