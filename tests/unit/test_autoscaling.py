"""How many slots a worker takes for a load: Little's law, backlog, patience before slots go."""

from __future__ import annotations

import pytest

from amqtask.errors import ConfigError
from amqtask.worker.autoscaling import Autoscaler, Load
from amqtask.worker.bounds import read_bounds
from amqtask.worker.steps import autoscale


class Day:
    """Asks the rule once a second and obeys."""

    def __init__(self, most: int, fewest: int) -> None:
        self.scaler = Autoscaler(most, fewest)
        self.now, self.arrived, self.slots = 100.0, 0, fewest
        self.sizes: list[int] = []

    def pass_by(self, seconds: int, *, rate: int = 0, busy: int | None = None, backlog: int = 0) -> None:
        for _ in range(seconds):
            self.now += 1
            self.arrived += rate
            working = self.slots if busy is None else min(busy, self.slots)
            self.slots += self.scaler.change(Load(self.now, self.slots, working, self.arrived, 0, backlog))
            self.sizes.append(self.slots)


def test_a_worker_without_work_stays_at_its_fewest():
    day = Day(10, 3)
    day.pass_by(60, busy=0)
    assert set(day.sizes) == {3}


def test_arrivals_times_run_time_is_what_a_steady_load_gets():
    day = Day(50, 1)
    for _ in range(30):
        day.scaler.ended(0.5)
    day.pass_by(40, rate=20, busy=10)
    assert 10 <= day.slots <= 12


def test_a_backlog_gets_as_many_slots_as_work_it_off_in_seconds():
    day = Day(50, 1)
    day.scaler.ended(1.0)
    day.pass_by(1, backlog=100)
    assert day.slots == 20


def test_tasks_of_which_none_has_ended_each_get_a_slot():
    day = Day(8, 1)
    day.pass_by(1, backlog=4)
    assert day.slots == 5
    day.pass_by(1, backlog=40)
    assert day.slots == 8


def test_short_tasks_that_wait_a_moment_get_no_slots():
    day = Day(50, 2)
    day.scaler.ended(0.001)
    for _ in range(20):
        day.pass_by(1, rate=100, busy=2, backlog=60)
        day.pass_by(1, rate=100, busy=1)
    assert set(day.sizes) == {2}


def test_slots_that_stay_full_before_a_backlog_grow_whatever_the_figures_say():
    day = Day(5, 1)
    day.scaler.ended(0.0001)
    day.pass_by(30, backlog=1)
    assert day.slots == 5


def test_slots_go_only_when_they_were_not_needed_for_a_while():
    day = Day(20, 2)
    day.scaler.ended(1.0)
    day.pass_by(1, backlog=50)
    assert day.slots == 10
    day.pass_by(int(Autoscaler.hold) - 1, busy=0)
    assert day.slots == 10
    day.pass_by(3, busy=0)
    assert day.slots == 2


def test_busy_slots_never_go():
    day = Day(20, 1)
    day.scaler.ended(1.0)
    day.pass_by(1, backlog=50)
    day.pass_by(60, busy=7)
    assert day.slots == 7


def test_new_bounds_are_followed():
    day = Day(20, 1)
    day.scaler.fewest = 4
    day.pass_by(1, busy=0)
    assert day.slots == 4
    day.scaler.most = day.scaler.fewest = 2
    day.pass_by(1, busy=3)
    assert day.slots == 3
    day.pass_by(1, busy=0)
    assert day.slots == 2


@pytest.mark.parametrize(
    ("text", "bounds"), [("10,3", (10, 3)), ("3, 10", (10, 3)), ("8", (8, 1)), ("5,0", (5, 1)), ("4,4", (4, 4))]
)
def test_bounds_are_read_as_celery_writes_them(text: str, bounds: tuple[int, int]):
    assert read_bounds(text) == bounds


@pytest.mark.parametrize("text", ["", "many", "1,2,3", "-1", "0", "4,-2", "2.5"])
def test_other_texts_are_refused(text: str):
    with pytest.raises(ConfigError, match=r"write MAX,MIN"):
        read_bounds(text)


def test_another_rule_is_found_by_its_path_or_the_start_fails():
    assert autoscale._load("amqtask.worker.autoscaling:Autoscaler") is Autoscaler
    for path in ("nowhere:Rule", "amqtask.worker.autoscaling:Nothing", "no path"):
        with pytest.raises(ConfigError, match=r"worker_autoscaler '.*' can't be used"):
            autoscale._load(path)
