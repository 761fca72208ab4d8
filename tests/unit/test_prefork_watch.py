"""When a child or its job takes too long, and what is done then: the rule alone."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from pool_host import job_for

from amqtask.broker.pika_driver import new_loop
from amqtask.execution.job import Kind, Outcome
from amqtask.worker.pools.prefork.cells import Cells
from amqtask.worker.pools.prefork.slot import Slot, Stop
from amqtask.worker.pools.prefork.stops import Stops, signal_number
from amqtask.worker.pools.prefork.watch import Watch, look

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 4.0


@pytest.fixture
def slot() -> Iterator[Slot]:
    made = Slot(0, new_loop())
    made.connect(lambda: None).close()
    made.ready, made.progress = True, 0.0
    yield made
    made.clear()


def give(slot: Slot, key: int, **limits: Any) -> None:
    slot.give(job_for(key, "add")._replace(**limits), short=True)
    slot.progress = 0.0


def found(slot: Slot, now: float, running: tuple[int, float] | None = None) -> tuple[str, float | None]:
    seen = look(slot, running, now, PATIENCE)
    return ("none", None) if seen is None else (seen.action, seen.again)


def test_idle_child_is_not_watched(slot: Slot) -> None:
    assert found(slot, 100.0) == ("none", None)


def test_child_has_its_time_to_come_up_and_more_after_each_failure(slot: Slot) -> None:
    slot.ready = False
    assert found(slot, 3.9) == ("", 4.0)
    assert found(slot, 4.1)[0] == "kill"
    slot.early_deaths = 2
    assert found(slot, 4.1) == ("", 12.0)


def test_child_has_to_take_a_job(slot: Slot) -> None:
    give(slot, 1)
    assert found(slot, 1.0) == ("", 4.0)
    assert found(slot, 4.5)[0] == "kill"


def test_running_job_without_limits_may_run_for_ever(slot: Slot) -> None:
    give(slot, 1)
    assert found(slot, 1e6, running=(1, 0.5))[0] == ""


def test_limits_count_from_the_start_of_the_job(slot: Slot) -> None:
    give(slot, 1, time_limit=3.0, soft_time_limit=1.0)
    assert found(slot, 10.0, running=(1, 9.5)) == ("", 10.5)
    assert found(slot, 10.6, running=(1, 9.5)) == ("soften", 11.1)
    assert found(slot, 12.4, running=(1, 9.5)) == ("soften", 12.5)
    assert found(slot, 12.5, running=(1, 9.5))[0] == "time out"


def test_job_behind_another_is_looked_at_before_its_limit_can_pass(slot: Slot) -> None:
    give(slot, 1)
    give(slot, 2, time_limit=0.5)
    assert found(slot, 1.0) == ("", 1.5)
    assert found(slot, 1.0, running=(3, 0.9)) == ("", 1.5)


def test_jobs_behind_one_that_turns_out_long_are_taken_back(slot: Slot) -> None:
    give(slot, 1)
    assert found(slot, 10.0, running=(1, 9.0))[0] == ""
    give(slot, 2)
    assert found(slot, 10.0, running=(1, 9.98)) == ("", pytest.approx(10.03))
    assert found(slot, 10.0, running=(1, 9.0)) == ("relieve", 10.5)


def test_stopped_child_has_its_time_to_be_continued_whatever_it_runs(slot: Slot) -> None:
    give(slot, 1, time_limit=60.0)
    slot.stopped = 10.0
    assert found(slot, 13.0, running=(1, 9.0)) == ("", 14.0)
    assert found(slot, 14.0, running=(1, 9.0))[0] == "kill"


def test_child_has_to_end_when_it_was_told_to(slot: Slot) -> None:
    slot.close()
    slot.progress = 0.0
    assert found(slot, 3.0) == ("", 4.0)
    assert found(slot, 4.0)[0] == "kill"


def test_kill_is_repeated_until_the_child_is_dead(slot: Slot) -> None:
    slot.killed = "it did not answer"
    assert found(slot, 1.0) == ("kill", 1.5)
    slot.clear()
    assert found(slot, 1.0) == ("none", None)


def test_job_to_be_stopped_is_stopped_when_it_begins_and_again_after_a_grace(slot: Slot) -> None:
    give(slot, 1)
    slot.stops[1] = stop = Stop(signal.SIGTERM, Outcome(1, Kind.REVOKED))
    assert found(slot, 1.0) == ("", 1.01)
    assert found(slot, 1.0, running=(1, 0.9)) == ("stop", 1.5)
    stop.sent = 1.0
    assert found(slot, 1.5, running=(1, 0.9)) == ("", 5.5)
    assert found(slot, 6.0, running=(1, 0.9))[0] == "stop"


class Hands:
    """What is done to children: the fork server and the crew, who only write it down here."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []

    def signal(self, slot: int, number: int) -> None:
        self.done.append(("signal", slot, number))

    def kill(self, slot: Slot, reason: str) -> None:
        self.done.append(("kill", slot.number, reason))

    def ended(self, slot: Slot, outcome: Outcome) -> None:
        self.done.append(("ended", slot.number, outcome.key, outcome.kind))


@pytest.mark.parametrize("next_one", [None, 2])
def test_job_that_ends_just_before_its_limit_is_noticed_costs_no_child(slot: Slot, next_one: int | None) -> None:
    cells, hands = Cells(1), Hands()
    stops = Stops(cells, hands, hands, hands.ended)  # type: ignore[arg-type]
    give(slot, 1, time_limit=1.0)
    slot.stops[1] = Stop(signal.SIGKILL, Outcome(1, Kind.REVOKED))
    if next_one is not None:
        cells.begin(0, next_one)
    stops.time_out(slot, 1)
    stops.stop(slot, 1)
    assert hands.done == []
    assert cells.condemned(0) is None
    cells.begin(0, 1)
    stops.time_out(slot, 1)
    assert hands.done == [("kill", 0, "its task ran over the time limit"), ("ended", 0, 1, Kind.TIMED_OUT)]


def test_child_whose_long_job_has_just_ended_is_not_killed_for_not_taking_it(slot: Slot) -> None:
    loop, cells, hands = new_loop(), Cells(1), Hands()
    watch = Watch(loop, PATIENCE)
    watch.actions = Stops(cells, hands, hands, hands.ended)  # type: ignore[arg-type]
    give(slot, 1)
    slot.progress = time.monotonic() - 3600
    cells.begin(0, 1)
    cells.end(0)  # the outcome is on its way
    watch.look(slot)
    assert hands.done == []
    loop.close()


@pytest.mark.parametrize(
    ("name", "number"), [("SIGTERM", 15), ("term", 15), ("SIGKILL", 9), ("SIGNOTHING", None), ("", None)]
)
def test_signals_have_their_names_with_and_without_sig(name: str, number: int | None) -> None:
    assert signal_number(name) == number
