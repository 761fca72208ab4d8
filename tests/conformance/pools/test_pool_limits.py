"""Time limits and stopping in every pool: what the task sees, what is reported, and that nobody else is hit.

The pool's main thread is that of the process here, as in a worker; solo, asyncio and gevent need it for signals.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from native_code import NativeCode
from pool_host import Bench, job_for
from timed_app import make_timed_app

from amqtask.execution.job import Kind, Outcome
from amqtask.worker.pools.base import pools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amqtask.execution.job import Job

LONG = 300.0
"""Seconds: beyond the patience of every test."""

SHARED = ("threads", "asyncio", "solo", "gevent")
"""Pools that run user code in the worker's own process."""


@pytest.fixture(params=pools.names())
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(pool: str) -> Iterator[Bench]:
    with Bench(make_timed_app(), pool, main=True) as started:
        yield started


def limited(key: int, task: str, *args: Any, hard: float | None = None, soft: float | None = None) -> Job:
    return job_for(key, task, *args)._replace(time_limit=hard, soft_time_limit=soft)


def error_of(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error[0]


@pytest.mark.parametrize(
    ("task", "way"), [("clean", "compute"), ("aclean", "await"), ("aclean", "compute")], ids=["loop", "await", "aloop"]
)
def test_a_task_may_clean_up_at_its_soft_limit(bench: Bench, task: str, way: str) -> None:
    def scenario() -> None:
        began = time.monotonic()
        (outcome,) = bench.run(limited(1, task, way, LONG, soft=0.2))
        assert (outcome.kind, outcome.text) == (Kind.SUCCESS, "'cleaned'")
        assert time.monotonic() - began > 0.19
        assert bench.run(job_for(2, "add", 1, 1))[0].text == "2"

    bench.play(scenario)


@pytest.mark.parametrize(("pool", "task"), [("solo", "clean"), ("asyncio", "aclean")])
def test_soft_limits_need_no_signal_where_a_worker_is_embedded(pool: str, task: str) -> None:
    with Bench(make_timed_app(), pool) as bench:
        assert bench.run(limited(1, task, "compute", LONG, soft=0.1))[0].text == "'cleaned'"


@pytest.mark.parametrize("pool", ["asyncio", "prefork", "threads"])
def test_a_soft_limit_ends_what_a_coroutine_waits_for(bench: Bench) -> None:
    bench.play(lambda: _equal(bench.run(limited(1, "gathers", LONG, soft=0.1))[0].text, "'cleaned'"))


def _equal(value: object, wanted: object) -> None:
    assert value == wanted


def test_a_soft_limit_wakes_a_task_that_sleeps_where_the_main_thread_runs_it(bench: Bench, pool: str) -> None:
    if pool == "threads":
        pytest.skip("a thread that sleeps learns of it when it wakes up")
    task = "aclean" if pool == "asyncio" else "clean"
    bench.play(lambda: _equal(bench.run(limited(1, task, "sleep", LONG, soft=0.1))[0].text, "'cleaned'"))


def test_a_soft_limit_that_nobody_catches_fails_the_task(bench: Bench) -> None:
    def scenario() -> None:
        (outcome,) = bench.run(limited(1, "spend", "compute", LONG, soft=0.1))
        assert outcome.kind == Kind.FAILED
        assert error_of(outcome) == "amqtask.errors.SoftTimeLimitExceeded"
        assert outcome.error is not None
        assert outcome.error[1] == "the soft time limit has passed"

    bench.play(scenario)


def test_tasks_within_their_limits_notice_nothing(bench: Bench) -> None:
    jobs = [limited(key, task, "compute", 0.01, hard=LONG, soft=LONG) for key, task in enumerate(["spend", "aspend"])]
    bench.play(lambda: _equal([outcome.text for outcome in bench.run(*jobs)], ["'done'", "'done'"]))


@pytest.mark.parametrize(("task", "way"), [("spend", "compute"), ("aspend", "await"), ("aspend", "compute")])
def test_the_hard_limit_ends_a_task_and_its_slot_goes_on(bench: Bench, task: str, way: str) -> None:
    def scenario() -> None:
        began = time.monotonic()
        (outcome,) = bench.run(limited(1, task, way, LONG, hard=0.2))
        assert outcome.kind == Kind.TIMED_OUT
        assert error_of(outcome) == "amqtask.errors.TimeLimitExceeded"
        assert outcome.text == "ran longer than its time limit of 0.2 s"
        assert time.monotonic() - began > 0.19
        assert [one.text for one in bench.run(*(job_for(key, "add", key) for key in range(2, 20)))] == [
            str(key) for key in range(2, 20)
        ]
        assert not bench.lost
        assert not bench.restarts

    bench.play(scenario)


def test_the_hard_limit_follows_a_soft_one_that_was_ignored(bench: Bench, tmp_path: Path) -> None:
    def scenario() -> None:
        (outcome,) = bench.run(limited(1, "ill_mannered", str(tmp_path / "gate"), hard=0.4, soft=0.1))
        assert outcome.kind == Kind.TIMED_OUT
        (tmp_path / "gate").touch()
        assert bench.run(job_for(2, "add", 1, 1))[0].text == "2"

    bench.play(scenario)


def test_native_code_does_not_hold_up_the_outcome_of_a_hard_limit(pool: str, tmp_path: Path) -> None:
    code, app = NativeCode(str(tmp_path / "pipe")), make_timed_app()
    app.task(name="native")(code.run)

    def scenario() -> None:
        try:
            (outcome,) = bench.run(limited(1, "native", hard=0.2))
            assert outcome.kind == Kind.TIMED_OUT
            if pool in SHARED:
                bench.wait(lambda: bench.restarts)
                assert "native" in bench.restarts[0]
        finally:
            code.end()
        assert bench.run(job_for(2, "add", 1, 1))[0].text == "2"

    with Bench(app, pool, main=True) as bench:
        bench.play(scenario)


@pytest.mark.parametrize("pool", ["asyncio", "prefork", "threads"])
def test_a_coroutine_that_refuses_to_end_is_given_up(bench: Bench, pool: str, tmp_path: Path) -> None:
    def scenario() -> None:
        (outcome,) = bench.run(limited(1, "aill_mannered", str(tmp_path / "gate"), hard=0.2))
        assert outcome.kind == Kind.TIMED_OUT
        if pool in SHARED:
            bench.wait(lambda: bench.restarts)
        (tmp_path / "gate").touch()
        assert bench.run(job_for(2, "add", 1, 1))[0].text == "2"

    bench.play(scenario)


def test_a_limit_never_hits_another_job(bench: Bench) -> None:
    """Run times straddle the limit, so that interruptions come in the last moment, or too late."""

    def scenario() -> None:
        tight = [limited(key, "spend", "compute", 0.01, soft=0.0098 + key % 7 * 0.0001) for key in range(0, 40, 2)]
        tight += [limited(key, "aspend", "compute", 0.01, soft=0.0098 + key % 7 * 0.0001) for key in range(40, 60, 2)]
        free = [job_for(key, "aadd" if key % 3 else "add", key, 1) for key in range(1, 60, 2)]
        jobs = sorted([*tight, *free], key=lambda job: job.key)
        outcomes = bench.run(*jobs)
        assert [one.text for one in outcomes if one.key % 2] == [str(key + 1) for key in range(1, 60, 2)]
        ends = {one.text if one.kind == Kind.SUCCESS else error_of(one) for one in outcomes if not one.key % 2}
        assert ends <= {"'done'", "amqtask.errors.SoftTimeLimitExceeded"}
        assert not bench.lost

    bench.play(scenario)


@pytest.mark.parametrize(("task", "way"), [("spend", "compute"), ("aspend", "await")])
def test_a_stopped_job_is_reported_as_was_asked(bench: Bench, task: str, way: str) -> None:
    def scenario() -> None:
        bench.submit(job_for(1, task, way, LONG), job_for(2, "add", 1, 1))
        bench.wait(lambda: 1 in {one.key for one in bench.on_loop(bench.pool.running)})
        wanted = Outcome(1, Kind.REVOKED, text="terminated")
        assert bench.on_loop(lambda: bench.pool.stop_job(1, "SIGTERM", wanted))
        bench.wait(lambda: {1, 2} <= bench.outcomes.keys())
        assert bench.outcomes[1] == wanted
        assert bench.outcomes[2].text == "2"
        assert not bench.on_loop(lambda: bench.pool.stop_job(1, "SIGTERM", wanted))
        assert not bench.on_loop(lambda: bench.pool.stop_job(77, "SIGTERM", wanted))

    bench.play(scenario)
