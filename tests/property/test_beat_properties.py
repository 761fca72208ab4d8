"""Exactly one occurrence for each due time, whichever step of whichever scheduler is its last."""

from __future__ import annotations

from datetime import UTC

import pytest
from beat_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.beat import leader as leader_module
from amqtask.schedules.entry import read_entry


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    """Snapshots after every few records, so that every case has some."""
    monkeypatch.setattr(leader_module, "COMPACT_AFTER", 3)


def entries(*given_entries: dict):
    read = [read_entry(f"e{number}", {"task": "t", **one}, UTC) for number, one in enumerate(given_entries)]
    return {entry.name: entry for entry in read}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("time"), st.sampled_from([0.25, 1.0, 2.5])),
        st.tuples(st.just("flush"), st.integers(1, 4)),
        st.tuples(st.just("deliver"), st.integers(1, 4)),
        st.tuples(st.just("tick"), st.just(0)),
        st.tuples(st.just("kill"), st.integers(0, 4)),
        st.tuples(st.just("freeze"), st.just(0)),
        st.tuples(st.just("start"), st.just(0)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=80,
)


def play(world: World, steps: list[tuple[str, float]]) -> None:
    for what, number in steps:
        if what == "time":
            world.now += number
        elif what == "settle":
            world.settle()
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


@settings(max_examples=300, deadline=None)
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


@settings(max_examples=200, deadline=None)
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
