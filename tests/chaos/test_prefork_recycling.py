"""Prefork children are replaced after their share of tasks, or of memory: the next one is up before the last leaves."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from crowd import pids, pool_of, take_all_for_short
from pool_app import make_app
from pool_host import Bench, job_for

from amqtask.execution.job import Kind

if TYPE_CHECKING:
    from pathlib import Path


def test_no_child_runs_more_tasks_than_its_share_and_no_job_is_lost() -> None:
    with Bench(make_app(worker_max_tasks_per_child=5), "prefork", concurrency=3) as bench:
        outcomes = bench.run(*(job_for(key, "where") for key in range(150)))
        runs = Counter(outcome.text for outcome in outcomes)
        assert max(runs.values()) == 5
        assert len(runs) >= 30
        assert not bench.lost
        bench.wait(lambda: len(pids(bench)) == 3)


def test_share_holds_when_children_have_many_short_jobs_at_once() -> None:
    with Bench(make_app(worker_max_tasks_per_child=7), "prefork") as bench:
        take_all_for_short(bench)
        outcomes = bench.run(*(job_for(key, "where") for key in range(700)))
        assert max(Counter(outcome.text for outcome in outcomes).values()) <= 7
        assert not bench.lost


def test_jitter_spreads_the_shares() -> None:
    settings = {"worker_max_tasks_per_child": 3, "worker_max_tasks_per_child_jitter": 4}
    with Bench(make_app(**settings), "prefork", concurrency=1) as bench:
        outcomes = bench.run(*(job_for(key, "where") for key in range(200)))
        runs = list(Counter(outcome.text for outcome in outcomes).values())[:-1]
        assert len(set(runs)) > 1
        assert set(runs) <= {3, 4, 5, 6, 7}


def test_next_child_is_up_while_the_last_one_still_runs_its_task_but_takes_none(tmp_path: Path) -> None:
    with Bench(make_app(worker_max_tasks_per_child=1), "prefork", concurrency=1) as bench:
        (elder,) = pids(bench)
        bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")), job_for(2, "where"))
        bench.wait((tmp_path / "gate.pid").exists)
        bench.wait(lambda: len(pids(bench)) == 2)
        heir = next(pid for pid in pids(bench) if pid != elder)
        assert bench.on_loop(lambda: bench.pool.size) == 1
        assert bench.on_loop(bench.pool.free) == 0
        assert sorted(bench.on_loop(bench.pool.info)["processes"]) == sorted([elder, heir])
        (tmp_path / "gate").touch()
        bench.wait(lambda: {1, 2} <= bench.outcomes.keys())
        assert bench.outcomes[1].text == str(elder)
        assert str(heir) in bench.outcomes[2].text
        bench.wait(lambda: not psutil.pid_exists(elder))


@pytest.mark.parametrize("victim", ["elder", "heir"])
def test_death_during_the_succession_loses_nothing_else(victim: str, tmp_path: Path) -> None:
    with Bench(make_app(worker_max_tasks_per_child=1), "prefork", concurrency=1) as bench:
        (elder,) = pids(bench)
        bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
        bench.wait((tmp_path / "gate.pid").exists)
        bench.wait(lambda: len(pids(bench)) == 2)
        heir = next(pid for pid in pids(bench) if pid != elder)
        os.kill(elder if victim == "elder" else heir, signal.SIGKILL)
        if victim == "elder":
            bench.wait(lambda: bench.lost)
            assert bench.lost == [([1], [], "signal 9 (SIGKILL)")]
        else:
            bench.wait(lambda: heir not in pids(bench))
            (tmp_path / "gate").touch()
            bench.wait(lambda: 1 in bench.outcomes)
        assert bench.run(job_for(2, "add", 1))[0].kind == Kind.SUCCESS


def test_child_that_holds_too_much_memory_is_replaced_after_its_task() -> None:
    held = psutil.Process().memory_info().rss // 1024
    app = make_app(worker_max_memory_per_child=held + 40_000)
    kept = []

    @app.task(name="keep")
    def keep(size: int) -> int:
        kept.append(bytearray(size) if size < 1000 else bytearray(os.urandom(1) * size))
        return os.getpid()

    with Bench(app, "prefork", concurrency=1) as bench:
        (child,) = pids(bench)
        small = bench.run(*(job_for(key, "keep", 10) for key in range(5)))
        assert {outcome.text for outcome in small} == {str(child)}
        (large,) = bench.run(job_for(10, "keep", 80_000_000))
        assert (large.kind, large.text) == (Kind.SUCCESS, str(child))
        bench.wait(lambda: pids(bench) != [child] and len(pids(bench)) == 1)
        assert bench.run(job_for(11, "keep", 10))[0].text != str(child)
        assert not bench.lost


def test_shrinking_ends_a_child_that_is_being_replaced_and_its_heir(tmp_path: Path) -> None:
    with Bench(make_app(worker_max_tasks_per_child=1), "prefork") as bench:
        bench.submit(*(job_for(key, "wait_for_file", str(tmp_path / f"gate{key}")) for key in range(2)))
        bench.wait(lambda: len(pids(bench)) == 4)
        bench.on_loop(lambda: bench.pool.shrink(1))
        bench.wait(lambda: len(pids(bench)) == 3)
        for key in range(2):
            (tmp_path / f"gate{key}").touch()
        bench.wait(lambda: len(bench.outcomes) == 2)
        bench.wait(lambda: len(pids(bench)) == 1)
        assert not bench.lost


def test_pool_that_closes_replaces_nobody_and_ends(tmp_path: Path) -> None:
    with Bench(make_app(worker_max_tasks_per_child=1), "prefork") as bench:
        bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
        bench.wait(lambda: len(pids(bench)) == 3)
        processes = [psutil.Process(pid) for pid in pids(bench)]
        bench.on_loop(bench.pool.close)
        (tmp_path / "gate").touch()
        bench.wait(lambda: not any(process.is_running() for process in processes))
        assert bench.outcomes[1].kind == Kind.SUCCESS
        bench.wait(lambda: pool_of(bench)._fork_server is None)


def test_slots_stay_apart_while_children_and_their_heirs_are_killed() -> None:
    """A slot's number is used again only when its child is dead: a death is never taken for that of the next one."""
    with Bench(make_app(worker_max_tasks_per_child=2), "prefork") as bench:
        crew = pool_of(bench)._crew
        for key in range(150):
            bench.submit(job_for(key, "add", key))
            up = [slot.pid for slot in list(crew.slots) if slot.pid and slot.ready and slot.connected]
            if up and key % 3 == 0:
                with suppress(ProcessLookupError):
                    os.kill(up[0], signal.SIGKILL)
            bench.wait(lambda: len(bench.outcomes) + len(bench.lost) > key)  # noqa: B023 -- called before it goes on
        bench.wait(lambda: len(pids(bench)) == 2)
        numbers = [slot.number for slot in crew.slots]
        assert sorted([*numbers, *crew._numbers]) == list(range(len(numbers) + len(crew._numbers)))
