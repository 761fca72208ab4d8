"""Whether health checks take a scheduler for frozen."""

from __future__ import annotations

import time
from types import SimpleNamespace

from amqtask import clock
from amqtask.beat.pulse import Pulse
from amqtask.cli.commands.beat import _frozen


def test_a_scheduler_that_does_not_look_at_the_clock_counts_as_frozen_and_one_whose_clock_was_set_does_not(monkeypatch):
    beat = SimpleNamespace(pulse=Pulse(connected=True))
    assert not _frozen(beat)
    beat.pulse.ticked(clock.monotonic())
    monkeypatch.setattr(clock, "wall", lambda: time.time() + 3600)
    assert not _frozen(beat)
    beat.pulse.ticked(clock.monotonic() - 6)
    assert _frozen(beat) == "no look at the clock for 6 s"
