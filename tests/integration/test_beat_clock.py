"""A clock that jumps under a scheduler: a machine that was suspended, or whose clock was set. No burst, and no gap.

With real clocks, set by libfaketime: benchmarks/soaks/clock.py.
"""

from __future__ import annotations

import time

import pytest
from beats import beating, leads, new_app, taken
from waiting import wait_for

from amqtask import clock

pytestmark = pytest.mark.rabbitmq

HOUR = 3600.0
SCHEDULE = {
    "none": {"task": "tick", "schedule": 10.0, "catchup": "none"},
    "one": {"task": "tick", "schedule": 10.0, "catchup": "one"},
    "all": {"task": "tick", "schedule": 10.0, "catchup": "all", "deadline": "5m"},
    "wall": {"task": "tick", "schedule": "* * * * * *", "catchup": "one"},
}


@pytest.fixture
def app(vhost_url):
    made = new_app(vhost_url, SCHEDULE, beat_max_loop_interval=0.05)
    yield made
    made.close()


@pytest.fixture
def jump(monkeypatch):
    """Moves the wall clock by so many seconds; what measures elapsed time stays."""
    moved = [0.0]

    def by(seconds):
        moved[0] += seconds

    monkeypatch.setattr(clock, "wall", lambda: time.time() + moved[0])
    return by


def test_after_a_suspension_each_entry_catches_up_as_it_says_and_then_goes_on(app, jump):
    with beating(app) as beat:
        wait_for(lambda: leads(beat) and beat.pulse.sent_count)
        before = clock.wall()
        jump(HOUR)
        counted = beat.pulse.sent_count
        wait_for(lambda: beat.leader.state.marks["one"].last > before + HOUR - 11)
        after = clock.wall()
        count = beat.pulse.sent_count - counted
        wait_for(lambda: beat.leader.state.marks["wall"].last > after)
        assert beat.leader.state.marks["none"].last > before + HOUR - 61
    dues = taken(app)
    missed = {name: [due for entry, due in dues if entry == name and before < due < after] for name in SCHEDULE}
    assert count < 45
    assert len(missed["none"]) <= 1
    assert len(missed["one"]) == 1
    assert len(missed["all"]) in (30, 31)
    assert missed["all"] == sorted(set(missed["all"]))
    assert min(missed["all"]) >= before + HOUR - 311
    assert len([due for due in missed["wall"] if due < before + HOUR - 2]) <= 2


@pytest.mark.parametrize("back", [600.0, 3 * HOUR])
def test_a_clock_that_is_set_back_leaves_no_gap_longer_than_the_interval(app, jump, back):
    with beating(app) as beat:
        wait_for(lambda: leads(beat) and beat.leader.state.marks["wall"].runs)
        jump(-back)
        set_back = clock.wall()
        wait_for(lambda: beat.leader.state.marks["one"].last < set_back + 1)
        wakes = beat.leader._wakes
        for name in ("none", "one", "all"):
            wait_for(lambda: wakes[name] < set_back + 12)  # noqa: B023
        runs = beat.leader.state.marks["wall"].runs
        if back > HOUR:  # the clock was wrong before
            wait_for(lambda: beat.leader.state.marks["wall"].runs > runs)
        else:  # the same times of day are not run twice
            assert wakes["wall"] > set_back + back - 5
    assert len(taken(app)) < 20
