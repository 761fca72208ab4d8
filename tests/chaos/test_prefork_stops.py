"""Limits and stops of prefork jobs that meet others: in one child, in a publish, with signals of users."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from crowd import behind_each_other, pids
from pool_app import make_app
from pool_host import Bench, job_for

from amqtask.errors import SoftTimeLimitExceeded
from amqtask.execution.job import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.app.app import Amqtask
    from amqtask.execution.job import Job

SOFT = "amqtask.errors.SoftTimeLimitExceeded"


def make_stubborn_app() -> Amqtask:
    app = make_app()

    @app.task(name="send_forever")
    def send_forever() -> None:
        while True:
            app.tasks["add"].delay(1, 1)

    @app.task(name="alarmed")
    def alarmed(seconds: float) -> str:
        rung: list[int] = []
        signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            time.sleep(seconds)
        except SoftTimeLimitExceeded:
            return f"soft after {len(rung)} alarm"
        return "no soft limit"

    @app.task(name="last_words")
    def last_words(path: str) -> None:
        def write(*_: object) -> None:
            Path(path + ".said").touch()

        signal.signal(signal.SIGTERM, write)
        Path(path).touch()
        while True:
            time.sleep(60)

    return app


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(make_stubborn_app(), "prefork", concurrency=1) as started:
        yield started


def limited(key: int, task: str, *args: Any, hard: float | None = None, soft: float | None = None) -> Job:
    return job_for(key, task, *args)._replace(time_limit=hard, soft_time_limit=soft)


def revoked(key: int) -> Outcome:
    return Outcome(key, Kind.REVOKED, text="terminated")


def stop(bench: Bench, key: int, name: str) -> bool:
    return bool(bench.on_loop(lambda: bench.pool.stop_job(key, name, revoked(key))))


def test_hard_limit_of_one_of_many_in_a_child_hits_that_one_only(bench: Bench, tmp_path: Path) -> None:
    pids(bench)
    short = [limited(key, "add", key, hard=60.0) for key in (1, 2)]
    stuck = limited(3, "wait_for_file", str(tmp_path / "never"), hard=0.2)
    behind = [limited(key, "add", key, hard=60.0) for key in (4, 5, 6)]
    behind_each_other(bench, *short, stuck, *behind)
    bench.wait(lambda: len(bench.outcomes) == 6)
    assert bench.outcomes[3].kind == Kind.TIMED_OUT
    assert {bench.outcomes[key].kind for key in (1, 2, 4, 5, 6)} == {Kind.SUCCESS}
    assert not bench.lost


def test_hard_limit_counts_from_the_start_of_the_job_not_from_when_it_was_handed_over(
    bench: Bench, tmp_path: Path
) -> None:
    pids(bench)
    gate = tmp_path / "gate"
    handed_over = time.monotonic()
    behind_each_other(bench, job_for(1, "wait_for_file", str(gate)), limited(2, "add", 2, hard=2.0))
    bench.wait(lambda: time.monotonic() - handed_over > 2.1)
    gate.touch()
    bench.wait(lambda: len(bench.outcomes) == 2)
    assert bench.outcomes[2].text == "2"


def test_task_that_waits_for_a_confirm_is_interrupted_and_its_child_can_send_on(bench: Bench) -> None:
    (child,) = pids(bench)
    publish, bench.host.publish = bench.host.publish, lambda *_: None
    (outcome,) = bench.run(limited(1, "send_more", 1, soft=0.2))
    assert outcome.error is not None
    assert outcome.error[0] == SOFT
    bench.host.publish = publish
    assert bench.run(job_for(2, "send_batch", 700))[0].text == "700"
    assert pids(bench) == [child]


def test_interruption_never_tears_what_a_task_writes_to_its_worker(bench: Bench) -> None:
    (child,) = pids(bench)
    outcomes = bench.run(*(limited(key, "send_forever", soft=0.02 + key % 7 * 0.001) for key in range(60)))
    assert {outcome.error and outcome.error[0] for outcome in outcomes} == {SOFT}
    assert bench.run(job_for(100, "send_from_threads", 4))[0].text == "4"
    assert pids(bench) == [child]


def test_threads_of_a_task_do_not_keep_its_soft_limit_away(bench: Bench) -> None:
    publish, bench.host.publish = bench.host.publish, lambda *_: None
    (outcome,) = bench.run(limited(1, "send_from_threads", 4, soft=0.2))
    assert outcome.error is not None
    assert outcome.error[0] == SOFT
    bench.host.publish = publish


def test_alarm_of_a_task_is_its_own(bench: Bench) -> None:
    assert bench.run(limited(1, "alarmed", 30.0, soft=2.0))[0].text == "'soft after 1 alarm'"


@pytest.mark.parametrize("name", ["SIGKILL", "TERM", "SIGINT", "SIGUSR2"])
def test_stopped_job_ends_with_its_child_and_others_go_on(bench: Bench, name: str, tmp_path: Path) -> None:
    (child,) = pids(bench)
    bench.submit(job_for(1, "wait_for_file", str(tmp_path / "never")), job_for(2, "add", 1))
    bench.wait((tmp_path / "never.pid").exists)
    assert stop(bench, 1, name)
    bench.wait(lambda: {1, 2} <= bench.outcomes.keys())
    assert bench.outcomes[1] == revoked(1)
    assert child not in pids(bench)
    assert not bench.lost


def test_stop_by_sigusr1_is_a_soft_limit_as_at_celery(bench: Bench) -> None:
    (child,) = pids(bench)
    bench.submit(job_for(1, "alarmed", 30.0))
    bench.wait(lambda: bench.on_loop(bench.pool.running))
    assert stop(bench, 1, "SIGUSR1")
    bench.wait(lambda: 1 in bench.outcomes)
    assert bench.outcomes[1] == revoked(1)
    assert pids(bench) == [child]


def test_task_that_handles_the_signal_has_a_moment_to_end_and_is_killed_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("amqtask.worker.pools.prefork.watch._GRACE", 2.0)
    bench.submit(job_for(1, "last_words", str(tmp_path / "task")))
    bench.wait((tmp_path / "task").exists)
    assert stop(bench, 1, "SIGTERM")
    bench.wait((tmp_path / "task.said").exists)
    bench.wait(lambda: 1 in bench.outcomes)
    assert bench.outcomes[1] == revoked(1)
    assert bench.run(job_for(2, "add", 1))[0].kind == Kind.SUCCESS


def test_stop_of_a_job_behind_another_one_and_of_one_that_no_child_has(bench: Bench, tmp_path: Path) -> None:
    (child,) = pids(bench)
    gate = tmp_path / "gate"
    behind_each_other(bench, job_for(1, "wait_for_file", str(gate)), job_for(2, "add", 1))
    assert stop(bench, 2, "SIGTERM")
    bench.on_loop(lambda: bench.pool.submit(job_for(3, "add", 1)))
    assert stop(bench, 3, "SIGTERM")
    bench.wait(lambda: {2, 3} <= bench.outcomes.keys())
    assert (bench.outcomes[2], bench.outcomes[3]) == (revoked(2), revoked(3))
    gate.touch()
    bench.wait(lambda: 1 in bench.outcomes)
    assert pids(bench) == [child]


def test_what_can_not_be_stopped_is_said(bench: Bench) -> None:
    bench.run(job_for(1, "add", 1))
    assert not stop(bench, 1, "SIGTERM")
    assert not stop(bench, 2, "SIGNONSENSE")
