"""Messages of the watch over chords: whatever a stranger writes into one ends no worker, and is not kept for ever."""

from __future__ import annotations

import json

import pytest
from signing_settings import PLAIN, keyed

from amqtask.broker.content import seal
from amqtask.broker.interface import ConnectionOptions
from amqtask.topology.chords import WATCH_TASK
from amqtask.topology.declarations import Queue
from amqtask.wire.message import Properties
from amqtask.worker.chords.watch import LOOKS, ChordWatch
from amqtask.worker.deliveries.delivery import Delivery
from amqtask.worker.deliveries.outcome import Effects

STORED = {"group_id": "g"}


class Chords:
    """Counts members of chords that are never complete."""

    def look(self, _place, _signature, done, *, expired):
        done(expired)

    def look_in_backend(self, _group_id, _signature, done, *, expired):
        done(expired)


def effect_of(deadline, *, stored, looks=0, signer=PLAIN, queue="amqtask.chord.g", queue_of=Queue):
    counted = {} if stored else {"amqtask_chord": {"queue": queue, "size": 2, "deadline": deadline}}
    named = {**STORED, "deadline": deadline} if stored else {}
    signature = {"task": "add", "args": [], "kwargs": {}, "options": {"task_id": "b", **counted}}
    headers = {"task": WATCH_TASK, "id": "w", LOOKS: looks}
    properties = Properties("application/json", "utf-8", headers, correlation_id="w")
    body = json.dumps([[signature], named, {}]).encode()
    effects = []
    watch = ChordWatch(
        Chords(), Effects(queue_of, "w@h", [], 3, set()), lambda _, effect: effects.append(effect), ["json"], signer
    )
    watch.take(Delivery(1, 1, 1, "q", "", "q", False, properties, body))
    (effect,) = effects
    return effect


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("deadline", [float("inf"), float("nan"), 1e300, 10**400, -1, "soon", None])
def test_a_deadline_that_is_no_time_is_undecodable(deadline, stored):
    assert effect_of(deadline, stored=stored).dead == "undecodable"


@pytest.mark.parametrize("rest", ["x" * 300, "é" * 130, "\ud800"], ids=["long", "long in UTF-8", "no text"])
def test_a_queue_that_no_message_of_amqp_can_name_is_undecodable(rest):
    """Asking for it would cut the connection, or end the thread that asks."""
    assert effect_of(2e9, stored=False, queue=f"amqtask.chord.{rest}").dead == "undecodable"


@pytest.mark.parametrize("stored", [False, True])
def test_a_watch_that_nobody_has_signed_leads_to_nothing_where_signatures_are_required(stored):
    assert effect_of(253_402_300_799, stored=stored, signer=keyed("k")).dead == "undecodable"


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("looks", [3, 2**63 - 1, -(2**63)])
def test_a_chord_that_is_not_complete_is_looked_at_again(looks, stored):
    effect = effect_of(253_402_300_799, stored=stored, looks=looks)
    assert not effect.dead
    assert seal(effect.message, ConnectionOptions()), "it can be written"


@pytest.mark.parametrize("stored", [False, True])
def test_a_chord_whose_time_is_up_is_looked_at_no_more(stored):
    assert effect_of(1, stored=stored).message is None


def test_a_watch_in_a_queue_that_may_be_full_waits_in_nobodys_way():
    effect = effect_of(253_402_300_799, stored=False, queue_of=lambda name: Queue(name, max_length=1))
    assert effect.message.properties.headers["BCC"] == ["amqtask.delay.to.q"]
