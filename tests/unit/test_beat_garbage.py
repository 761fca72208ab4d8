"""What others put into the scheduler's log ends no scheduler."""

from __future__ import annotations

import pytest
from beat_world import LOG, World

from amqtask.config.zones import zone
from amqtask.schedules.entry import read_entry
from amqtask.schedules.records import record_message
from amqtask.schedules.state import State


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("skipped", {"entry": "one", "due": "abc"}),
        ("skipped", {"entry": "one", "due": None}),
        ("skipped", {"entry": "one", "due": 1e300}),
        ("snapshot", {"marks": 5}),
        ("snapshot", {"marks": {"one": ["abc"]}}),
        ("snapshot", {"marks": {"one": [1e300]}}),
        ("snapshot", {"paused": [[1]], "dynamic": {"two": 3}}),
        ("command", {"do": "update", "name": ["one"], "spec": {"schedule": []}}),
    ],
)
def test_a_record_that_no_scheduler_writes_ends_none(kind, data, caplog):
    made = World({"one": read_entry("one", {"task": "t", "schedule": 10}, zone("UTC"))})
    made.start()
    for again in range(3):
        made.settle()
        made.put(record_message(LOG, kind, data))
        made.settle()
        made.now += 10
        if again:  # the next one finds it in the log
            made.cut(made.active)
            made.start()
    made.settle()
    assert len(made.sent("one")) == 3
    assert State.of_plain(made.active.leader.state.plain()) == made.active.leader.state
    assert "left out" in caplog.text or kind == "command"


@pytest.mark.parametrize("args", ["[" * 100_000, "[NaN]", "[1e999]"])
def test_what_no_snapshot_could_say_is_dropped(args, caplog):
    made = World({"one": read_entry("one", {"task": "t", "schedule": 10}, zone("UTC"))})
    made.start()
    made.settle()
    body = '{"do":"add","name":"two","spec":{"task":"t","schedule":60,"args":' + args + "}}"
    made.put(record_message(LOG, "command", {})._replace(body=body.encode()))
    made.settle()
    made.cut(made.active)
    made.start()
    made.now += 70
    made.settle()
    assert made.sent("one")
    assert "is not its own" in caplog.text
