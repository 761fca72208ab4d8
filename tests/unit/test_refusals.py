"""Refused messages are told of once, however many somebody sends."""

from __future__ import annotations

import logging

from amqtask import clock
from amqtask.wire.refusals import Refusals


def test_the_first_is_told_at_once_and_the_others_once_a_minute(caplog, monkeypatch):
    refusals = Refusals(logging.getLogger("amqtask.test"), "A letter")
    now = clock.monotonic()
    for seconds in (0, 1, 59, 60, 61, 130):
        monkeypatch.setattr(clock, "monotonic", lambda seconds=seconds: now + seconds)
        refusals.tell(ValueError(f"no seal at {seconds}"))
    assert caplog.messages == [
        "A letter is left out: no seal at 0",
        "A letter is left out: no seal at 60 (and 2 more since the last line)",
        "A letter is left out: no seal at 130 (and 1 more since the last line)",
    ]
