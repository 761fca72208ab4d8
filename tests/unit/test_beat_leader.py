"""The scheduler's protocol, example by example; every possible crash is in tests/property."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from beat_world import LOG, after, tell, world

from amqtask.beat.effects import NotYet
from amqtask.errors import ConfigError
from amqtask.schedules.entry import read_entry, spec_of
from amqtask.schedules.records import record_message
from amqtask.schedules.state import State


def test_a_change_of_one_entry_leaves_the_others_planned_as_they_are():
    made = world(**{f"e{number}": {"schedule": 10} for number in range(5)})
    planned = dict(made.active.leader._wakes)
    made.now += 1
    looked = []
    usual, made.active.leader._look = made.active.leader._look, lambda name, _: looked.append(name)
    tell(made, "command", do="pause", name="e1")
    tell(made, "command", do="add", name="more", spec={"task": "t", "schedule": 5})
    tell(made, "command", do="remove", name="more")
    made.active.leader._look = usual
    assert looked == ["e1", "more"]
    after(made, 10)
    assert (made.sent("e1"), len(made.sent("e2")), made.sent("more")) == ([], 1, [])
    assert set(made.active.leader._wakes) == planned.keys() - {"e1"}


@pytest.mark.parametrize(("policy", "sent"), [("none", 1), ("one", 1), ("all", 6)])
def test_what_was_missed_while_paused_is_treated_as_the_entry_says_however_short_that_was(policy, sent):
    made = world(one={"schedule": 1, "catchup": policy})
    tell(made, "command", do="pause", name="one")
    after(made, 6)
    tell(made, "command", do="resume", name="one")
    assert len(made.sent("one")) == sent


def test_what_is_asked_for_at_once_is_sent_once_whoever_leads():
    made = world(one={"schedule": "@yearly"})
    made.put(record_message(LOG, "command", {"do": "run_now", "name": "one"}))
    made.put(record_message(LOG, "command", {"do": "run_now", "name": "none"}))
    made.settle()
    for _ in range(3):
        made.cut(made.active)
        made.start()
        made.settle()
    assert len(made.sent("one")) == 1


def test_a_command_that_stands_before_the_snapshot_that_does_not_have_it_is_not_lost():
    made = world(one={"schedule": "@yearly"})
    active = made.active
    made.now += 400
    active.leader.tick()  # a snapshot is on its way; the command arrives before it
    made.put(record_message(LOG, "command", {"do": "pause", "name": "one"}))
    made.flush(active)
    made.deliver()
    made.flush(active)
    made.cut(active)
    made.start()
    made.settle()
    assert not made.active.leader.entries["one"].enabled


def test_a_schedule_that_was_changed_begins_anew_and_sends_nothing_of_the_past():
    made = world(one={"schedule": 10, "catchup": "all"})
    after(made, 30)
    sent = len(made.sent("one"))
    made.cut(made.active)
    made.entries = {"one": read_entry("one", {"task": "t", "schedule": 1, "catchup": "all"}, UTC)}
    made.now += 1000
    made.start()
    made.settle()
    assert len(made.sent("one")) == sent
    after(made, 1)
    assert len(made.sent("one")) == sent + 1


def test_an_entry_that_can_not_be_sent_keeps_no_other_from_being_sent(caplog):
    made = world(bad={"schedule": 10}, good={"schedule": 10})
    send = made.active.send

    def fails(entry, due, **more):
        if entry.name == "bad":
            raise ConfigError("no such queue")
        return send(entry, due, **more)

    made.active.send = fails
    after(made, 10)
    assert (len(made.sent("bad")), len(made.sent("good"))) == (0, 1)
    assert "bad could not be sent: no such queue" in caplog.text


def test_a_foreign_message_in_the_log_is_left_out(caplog):
    made = world(one={"schedule": 10})
    made.log.append(record_message(LOG, "ended", {})._replace(body=b"\xff{"))
    made.settle()
    after(made, 10)
    assert len(made.sent("one")) == 1
    assert "holds a message that is not its own" in caplog.text


def test_a_log_that_was_deleted_leaves_the_leader_what_it_knows():
    made = world(one={"schedule": 10})
    after(made, 10)
    tell(made, "command", do="pause", name="one")
    process = made.active
    made.cut(process)
    made.log.clear()
    process.gone = False
    made.waiting.append(process)
    made._choose()
    process.leader.lost()
    process.leader.opened()
    made.settle()
    assert not process.leader.entries["one"].enabled
    assert process.leader.state.marks["one"].runs == 1


def test_who_has_led_before_another_did_does_not_go_on_from_there_when_the_log_is_deleted():
    made = world(one={"schedule": 10, "catchup": "all"})
    former = made.active
    after(made, 10)
    made.cut(former)
    made.start()
    after(made, 100)
    sent = made.sent("one")
    former.leader.opened()
    after(made, 6)  # in vain: the other one leads
    former.leader.tick()
    made.cut(made.active)
    made.log.clear()
    former.gone = False
    made.waiting.append(former)
    former.leader.opened()
    made._choose()
    made.settle()
    assert made.active is former
    assert former.leader.phase == "leading"
    assert made.sent("one") == sent


def test_a_delivery_is_acknowledged_once_however_long_the_broker_takes_nothing():
    made = world(one={"schedule": 30})
    process = made.active
    for _ in range(10):
        made.now += 61  # nothing of what is written arrives
        process.leader.tick()
    acknowledged = []
    process.acknowledge = acknowledged.append
    made.flush(process)
    made.deliver()
    assert acknowledged == sorted(set(acknowledged))


def test_a_clock_that_is_set_is_followed():
    made = world(one={"schedule": 10})
    after(made, 20)
    sent = len(made.sent("one"))
    made.now -= 5000
    made.active.leader.clock_set()
    after(made, 10)
    assert len(made.sent("one")) == sent + 1


def test_the_state_is_the_same_after_a_way_through_json():
    import json

    made = world(one={"schedule": 10, "overlap": "skip"})
    after(made, 10)
    tell(made, "command", do="add", name="two", spec={"task": "t", "schedule": 5})
    state = made.active.leader.state
    assert State.of_plain(json.loads(json.dumps(state.plain()))) == state


def test_an_entry_reads_its_own_plain_form_back():
    given = {
        "task": "t", "schedule": ["@daily", {"solar": "sunset", "lat": 1, "lon": 2}], "args": (1,), "kwargs": {"x": 2},
        "jitter": 5, "deadline": "1h", "overlap": "skip", "catchup": "all", "queue": "q",
        "expires": timedelta(minutes=1),
    }  # fmt: skip
    one = read_entry("e", given, UTC)
    again = read_entry("e", spec_of(one), UTC)
    assert spec_of(again) == spec_of(one)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"task": "t"}, "has no 'schedule'"),
        ({"schedule": 5}, "'task' must be the name"),
        ({"task": "t", "schedule": 5, "shedule": 6}, "did you mean 'schedule'"),
        ({"task": "t", "schedule": [5, 6]}, "one at most may be an interval"),
        ({"task": "t", "schedule": []}, "an empty list"),
        ({"task": "t", "schedule": 5, "queue": "a", "options": {"queue": "b"}}, "'queue' is given twice"),
        ({"task": "t", "schedule": 5, "tz": "Asian/Shanghai"}, "did you mean 'Asia/Shanghai'"),
        ({"task": "t", "schedule": 5, "deadline": "soon"}, "'deadline'"),
        ("every minute", "a mapping with"),
    ],
)
def test_an_entry_that_is_wrong_is_named_with_its_place(given, why):
    with pytest.raises(ConfigError, match=f"routing.yaml:3:1: periodic task 'e': .*{why}"):
        read_entry("e", given, UTC, "routing.yaml:3:1")


def test_a_snapshot_that_somebody_had_in_hand_is_taken_in_when_it_comes_back():
    made = world(one={"schedule": 10})
    made.put(record_message(LOG, "command", {"do": "add", "name": "more", "spec": {"task": "t", "schedule": 3600}}))
    after(made, 301)
    held, made.unacked = [message for _, message in made.unacked], []  # as basic.get holds them
    made.cut(made.active)
    made.start()
    made.settle()
    assert "more" not in made.active.leader.entries
    made.log += held
    made.settle()
    assert "more" in made.active.leader.entries


def test_an_entry_that_can_not_be_read_or_planned_stops_nobody():
    made = world(one={"schedule": 10})
    for name, spec in (
        ("wrong", {"task": "t", "schedule": {"cron": 5}}),
        ("odd", {"task": "t", "schedule": [{"every": {}}]}),
        ("long", {"task": "t", "schedule": 3_000_000 * 86_400.0}),
    ):
        tell(made, "command", do="add", name=name, spec=spec)
    after(made, 10)
    made.cut(made.active)
    made.start()
    made.settle()
    after(made, 10)
    assert len(made.sent("one")) == 2


def test_what_can_not_be_sent_yet_is_sent_when_it_can(monkeypatch):
    made = world(one={"schedule": 10})
    usual = made.active.send

    def not_yet(*_args, **_named):
        raise NotYet

    monkeypatch.setattr(made.active, "send", not_yet)
    tell(made, "command", do="run_now", name="one")
    after(made, 10)
    assert made.sent("one") == []
    monkeypatch.setattr(made.active, "send", usual)
    made.active.leader.rewind()
    made.settle()
    assert len(made.sent("one")) == 2


def test_the_state_of_a_later_version_can_be_read():
    marks = {"one": [10.0, "f", None, 0.0, None, 5.0, 3, 0.0, "what a later version knows"]}
    assert State.of_plain({"marks": marks}).marks["one"].runs == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [("enabled", "no"), ("relative", "false"), ("deadline", 0), ("schedule", {"cron": 5})],
)
def test_a_value_that_can_not_be_meant_is_an_error(key, value):
    with pytest.raises(ConfigError):
        read_entry("one", {"task": "t", "schedule": 10, key: value}, UTC)


def test_a_key_without_a_value_has_its_default():
    assert read_entry("one", {"task": "t", "schedule": 10, "enabled": None}, UTC).enabled


def test_an_interval_that_ends_after_all_calendars_is_never_due():
    entry = read_entry("one", {"task": "t", "schedule": 3_000_000 * 86_400.0}, UTC)
    assert entry.next(datetime.now(UTC)) is None
