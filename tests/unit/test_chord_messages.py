"""What lies in the queue of a chord, written and read, and whom it is believed."""

from __future__ import annotations

import pytest
from signing_settings import PLAIN, keyed

from amqtask.execution.job import Begin
from amqtask.results.base import Part
from amqtask.wire.signing import SIGNATURE
from amqtask.worker.chords.messages import ChordMessages
from amqtask.worker.chords.place import ChordPlace
from amqtask.worker.chords.state import Completion

PLACE = ChordPlace("amqtask.chord.g", 2, 2e9)
PART = Part({}, "g", 1, "member", "SUCCESS", b"[1]")
GROWTH = Begin("g", 3, more=True)


@pytest.mark.parametrize("signer", [PLAIN, keyed("k")], ids=["plain", "signed"])
def test_what_is_written_is_read(signer):
    messages = ChordMessages(signer)
    end, growth = messages.completion(PLACE, PART), messages.growth(GROWTH, "key")
    assert end.routing_key == growth.routing_key == PLACE.queue
    assert messages.read(PLACE.queue, end.properties, end.body) == Completion("member", 1, b"[1]")
    assert messages.read(PLACE.queue, growth.properties, growth.body) == Completion("key", more=3)


@pytest.mark.parametrize("made", [lambda one: one.completion(PLACE, PART), lambda one: one.growth(GROWTH, "key")])
def test_what_is_required_to_be_signed_counts_for_nothing_if_it_is_not_or_was_changed(made):
    messages = ChordMessages(keyed("k"))
    forged = made(ChordMessages(PLAIN))
    assert messages.read(PLACE.queue, forged.properties, forged.body) == Completion(None)
    right = made(messages)
    headers = right.properties.headers
    changes = [
        right.properties._replace(message_id="other"), right.properties._replace(headers={**headers, "group_index": 0}),
        right.properties._replace(headers={**headers, "x-amqtask-chord-more": 1}),
    ]  # fmt: skip
    for changed in changes:
        assert messages.read(PLACE.queue, changed, right.body) == Completion(None)
    assert messages.read(PLACE.queue, right.properties, b"other") == Completion(None)
    assert messages.read("amqtask.chord.h", right.properties, right.body) == Completion(None)


def test_a_worker_without_a_key_to_sign_with_lets_others_decide():
    checking = ChordMessages(keyed())
    assert SIGNATURE not in checking.completion(PLACE, PART).properties.headers
