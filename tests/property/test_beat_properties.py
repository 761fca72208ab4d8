"""Exactly one occurrence for each due time, whichever step of whichever scheduler is its last."""

from __future__ import annotations

from datetime import UTC

import pytest
from beat_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.beat import leader as leader_module
from amqtask.beat.planning import moment, offset
from amqtask.schedules.entry import read_entry


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    """Snapshots after every few records, so that every case has some."""
    monkeypatch.setattr(leader_module, "COMPACT_AFTER", 3)


def entries(*given_entries: dict):
    read = [read_entry(f"e{number}", {"task": "t", **one}, UTC) for number, one in enumerate(given_entries)]
    return {entry.name: entry for entry in read}


ROW = {"task": "t", "schedule": "1s", "catchup": "all"}
STEP = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([0.25, 1.0, 2.5])),
    st.tuples(st.just("flush"), st.integers(1, 4)),
    st.tuples(st.just("deliver"), st.integers(1, 4)),
    st.tuples(st.just("tick"), st.just(0)),
    st.tuples(st.just("kill"), st.integers(0, 4)),
    st.tuples(st.just("freeze"), st.just(0)),
    st.tuples(st.just("start"), st.just(0)),
    st.tuples(st.just("settle"), st.just(0)),
)
STEPS = st.lists(STEP, max_size=80)


CHANGES = st.one_of(st.tuples(st.just("write"), st.integers(0, 5)), st.tuples(st.just("look"), st.just(0)))


def play(world: World, steps: list[tuple[str, float]]) -> None:
    for what, number in steps:
        if what == "time":
            world.now += number
        elif what == "settle":
            world.settle()
        elif what == "write":
            world.table["e0"] = {**ROW, "args": [number]}
            world.table["e1"] = {**ROW, "schedule": f"{number + 1}s"}
            if number == 0:
                del world.table["e1"]
        elif what == "look":
            world.look()
        elif what == "start" or world.active is None:
            if len(world.waiting) < 3:
                world.start()
        else:
            hurt(world, what, int(number))


def hurt(world: World, what: str, number: int) -> None:
    active = world.active
    if what == "flush":
        world.flush(active, number)
    elif what == "deliver":
        world.deliver(number)
    elif what == "tick":
        active.leader.tick()
    elif what == "kill":  # some steps of its channel arrive yet
        world.flush(active, number)
        world.cut(active)
    elif what == "freeze":  # the broker gives up on it; it goes on with a channel that is gone
        world.cut(active)
        world.now += 3
        active.leader.tick()


@settings(max_examples=300)
@given(STEPS)
def test_every_due_time_is_sent_exactly_once_whatever_crashes(steps):
    world = World(entries({"schedule": 1, "catchup": "all"}, {"schedule": {"cron": "*/2 * * * * *"}, "catchup": "all"}))
    world.start()
    world.settle()
    begun = world.now
    play(world, steps)
    world.start()
    world.settle()
    world.now += 2
    world.settle()
    for name, step in (("e0", 1), ("e1", 2)):
        sent = world.sent(name)
        assert sent == sorted(set(sent)), "sent twice, or out of order"
        assert sent == [due for due in range(int(begun) + 1, int(world.now) + 1) if due % step == 0], "left out"
    assert len(world.unacked) < 20, "the log grows"


@settings(max_examples=200)
@given(STEPS)
def test_the_default_policy_never_sends_a_due_time_twice(steps):
    world = World(entries({"schedule": 1}, {"schedule": 0.7, "jitter": 0.5}, {"schedule": "@daily"}))
    world.start()
    play(world, steps)
    world.start()
    world.settle()
    for name in world.entries:
        sent = world.sent(name)
        assert sent == sorted(set(sent))


CALM = st.one_of(
    st.tuples(st.just("time"), st.sampled_from([0.25, 1.0, 2.5])),
    st.tuples(st.just("flush"), st.integers(1, 4)),
    st.tuples(st.just("deliver"), st.integers(1, 4)),
    st.tuples(st.just("tick"), st.just(0)),
)


@settings(max_examples=100)
@given(st.lists(st.lists(CALM, max_size=4), max_size=15))
def test_a_leader_that_stays_leaves_nothing_out_however_busy_it_is(parts):
    world = World(entries({"schedule": 1}, {"schedule": 0.5, "jitter": 2}))
    world.start()
    world.settle()
    begun = int(world.now)
    for steps in [*parts, [("time", 3)]]:
        play(world, steps)
        world.settle()
    assert world.sent("e0") == list(range(begun + 1, int(world.now) + 1))
    moved = world.sent("e1")
    assert moved == [begun + 0.5 * number for number in range(1, len(moved) + 1)]


SHORT = st.tuples(st.just("time"), st.sampled_from([0.06, 0.25, 1.0]))
FEW = st.tuples(st.just("deliver"), st.integers(1, 4))
KILL = st.tuples(st.just("kill"), st.integers(0, 4))
GAP = st.tuples(st.just("time"), st.sampled_from([0.06, 1.0, 2.5]))
TAKEOVER = st.tuples(SHORT, KILL, GAP, FEW, SHORT, st.lists(st.one_of(SHORT, FEW, KILL), max_size=3)).map(
    lambda steps: [*steps[:-1], *steps[-1]]
)


@settings(max_examples=100)
@given(st.lists(TAKEOVER, max_size=4))
def test_whoever_takes_over_leaves_nothing_out_that_comes_due_from_its_first_record_on(parts):
    world = World(entries({"schedule": 0.1}, {"schedule": 1}, {"schedule": 1, "jitter": 0.9, "catchup": "none"}))
    world.start()
    begun = world.now
    for steps in [[], *parts]:
        play(world, steps)
        while len(world.waiting) < 2:
            world.start()
        world.settle()
        for name, entry in world.entries.items():
            sent, wanted = world.sent(name), due_between(entry, begun, world.active.read_since, world.now)
            assert sent == sorted(set(sent)), "sent twice, or out of order"
            assert wanted <= set(sent), "left out"


def due_between(entry, begun: float, since: float, until: float) -> set[float]:
    """Due times of an entry that counts from ``begun``, to be sent after one moment and up to another one."""
    found, due, last = set(), entry.next(moment(begun)), moment(until)
    while due <= last:
        if moment(since) < due + offset(entry, due) <= last:
            found.add(due.timestamp())
        due = entry.next(due)
    return found


@settings(max_examples=200)
@given(st.lists(STEP | CHANGES, max_size=80))
def test_rows_that_change_meanwhile_are_sent_once_for_each_due_time_and_the_log_ends_as_the_table(steps):
    world = World({})
    world.table["e0"] = dict(ROW)
    world.start()
    world.settle()
    world.look()
    world.settle()
    begun = world.now
    play(world, steps)
    world.start()
    world.settle()
    world.look()
    world.now += 2
    world.settle()
    assert world.sent("e0") == list(range(int(begun) + 1, int(world.now) + 1))
    assert len(world.sent("e1")) == len(set(world.sent("e1")))
    assert world.active.leader.state.rows == world.table
    assert set(world.active.leader.entries) == set(world.table)
