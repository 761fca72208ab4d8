"""Both ends notice that the other is gone."""

from __future__ import annotations

import time

from amqp_wire import Wire
from pamqp.commands import Queue

BEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def test_the_broker_sends_two_heartbeats_per_interval_on_an_idle_connection(bare_wire: Wire) -> None:
    bare_wire.login(heartbeat=1)
    pauses, last = [], time.monotonic()
    while not pauses or min(pauses) > 0.8:  # a busy machine makes some longer
        assert len(pauses) < 12, pauses
        assert bare_wire.read(8) == BEAT
        pauses.append(time.monotonic() - last)
        last = time.monotonic()


def test_a_silent_client_is_disconnected(bare_wire: Wire) -> None:
    begin = time.monotonic()
    bare_wire.login(heartbeat=1)
    assert bare_wire.read_to_end().replace(BEAT, b"") == b""
    assert time.monotonic() - begin > 1


def test_a_client_that_sends_heartbeats_stays_connected(bare_wire: Wire) -> None:
    bare_wire.login(heartbeat=1)
    bare_wire.open_channel()
    begin = time.monotonic()
    while time.monotonic() - begin < 3.5:
        bare_wire.beat()
        assert bare_wire.read(8)[0] == 8
    bare_wire.call(Queue.Declare(queue="q", exclusive=True), Queue.DeclareOk)


def test_without_agreed_heartbeats_silence_is_fine(wire: Wire) -> None:
    wire.beat()
    wire.call(Queue.Declare(queue="q", exclusive=True), Queue.DeclareOk)
    assert wire.beats == 0
