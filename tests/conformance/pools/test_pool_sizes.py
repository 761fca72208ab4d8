"""Slots in every pool: how many there are, what runs in them, whether they answer."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from native_code import NativeCode
from pool_host import Bench, job_for
from timed_app import make_timed_app

from amqtask.errors import ConfigError
from amqtask.execution.job import Kind
from amqtask.worker.pools.base import pools

if TYPE_CHECKING:
    from pathlib import Path

RESIZABLE = [name for name in pools.names() if name != "solo"]


@pytest.mark.parametrize("pool", RESIZABLE)
def test_a_grown_pool_runs_more_at_the_same_time_and_a_shrunk_one_less(pool: str, tmp_path: Path) -> None:
    with Bench(make_timed_app(), pool, 1) as bench:
        assert bench.on_loop(lambda: bench.pool.size) == 1
        bench.on_loop(lambda: bench.pool.grow(2))
        assert bench.on_loop(lambda: bench.pool.size) == 3
        outcomes = bench.run(*(job_for(key, "meet", str(tmp_path), str(key), 3) for key in range(3)))
        assert [outcome.text for outcome in outcomes] == ["3"] * 3
        bench.on_loop(lambda: bench.pool.shrink(2))
        assert bench.on_loop(lambda: bench.pool.size) == 1
        bench.wait(lambda: bench.on_loop(bench.pool.free) >= 1)
        bench.submit(job_for(10, "wait_for_file", str(tmp_path / "gate")))
        bench.wait((tmp_path / "gate.pid").exists)
        assert bench.on_loop(bench.pool.free) == 0
        (tmp_path / "gate").touch()
        bench.wait(lambda: 10 in bench.outcomes)
        assert bench.run(*(job_for(key, "add", key) for key in range(20, 40)))[0].text == "20"


@pytest.mark.parametrize("pool", RESIZABLE)
def test_shrinking_leaves_busy_slots_their_task_and_one_slot_at_least(pool: str, tmp_path: Path) -> None:
    with Bench(make_timed_app(), pool, 3) as bench:
        bench.submit(*(job_for(key, "meet", str(tmp_path), str(key), 4) for key in range(3)))
        bench.wait(lambda: len(list(tmp_path.iterdir())) == 3)
        bench.on_loop(lambda: bench.pool.shrink(99))
        assert bench.on_loop(lambda: bench.pool.size) == 1
        assert bench.on_loop(bench.pool.free) == 0
        (tmp_path / "the fourth").touch()
        bench.wait(lambda: len(bench.outcomes) == 3)
        assert {outcome.kind for outcome in bench.outcomes.values()} == {Kind.SUCCESS}
        assert not bench.lost
        assert bench.run(job_for(5, "add", 1, 1))[0].text == "2"


@pytest.mark.parametrize("pool", ["threads", "asyncio", "gevent", "solo"])
def test_a_process_that_has_grown_too_large_asks_once_to_be_replaced(pool: str) -> None:
    with Bench(make_timed_app(worker_max_memory_per_child="1MiB"), pool) as bench:
        assert {outcome.kind for outcome in bench.run(*(job_for(key, "add", key) for key in range(50)))} == {0}
        bench.wait(lambda: bench.restarts)
        assert len(bench.restarts) == 1
        assert "more than worker_max_memory_per_child" in bench.restarts[0]


@pytest.mark.parametrize("pool", ["asyncio", "gevent"])
def test_a_loop_that_is_held_up_does_not_answer_until_it_is_free(pool: str, tmp_path: Path) -> None:
    code, app = NativeCode(str(tmp_path / "pipe")), make_timed_app(worker_proc_alive_timeout=1.0)

    async def acode() -> None:
        code.run()

    app.task(name="native")(acode if pool == "asyncio" else code.run)
    with Bench(app, pool) as bench:
        try:
            bench.submit(job_for(1, "native"))
            bench.wait(lambda: bench.on_loop(bench.pool.running))
            answers: list[bool] = []
            bench.on_loop(lambda: bench.pool.ping(answers.append))
            bench.wait(lambda: answers)
        finally:
            code.end()
        bench.wait(lambda: 1 in bench.outcomes)
        bench.on_loop(lambda: bench.pool.ping(answers.append))
        bench.wait(lambda: len(answers) == 2)
        assert answers == [False, True]


def test_solo_has_one_slot_for_ever() -> None:
    with Bench(make_timed_app(), "solo") as bench:
        refusals = []

        def grow() -> None:
            try:
                bench.pool.grow(1)
            except ConfigError as error:
                refusals.append(str(error))

        bench.on_loop(grow)
        bench.on_loop(lambda: bench.pool.shrink(1))
        assert refusals == ["the solo pool has one slot; 1 more can't be added"]
        assert bench.on_loop(lambda: bench.pool.size) == 1


@pytest.fixture(params=pools.names())
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_running_jobs_are_told_with_process_and_time(pool: str, tmp_path: Path) -> None:
    with Bench(make_timed_app(), pool) as bench:
        assert list(bench.on_loop(bench.pool.running)) == []
        before = time.time()
        bench.submit(job_for(7, "wait_for_file", str(tmp_path / "gate")))
        bench.wait(lambda: bench.on_loop(bench.pool.running))
        (running,) = bench.on_loop(bench.pool.running)
        bench.wait(lambda: (tmp_path / "gate.pid").exists() and (tmp_path / "gate.pid").read_text())
        assert running.key == 7
        assert before - 0.1 < running.since < time.time() + 0.1
        assert str(running.pid) == (tmp_path / "gate.pid").read_text()
        (tmp_path / "gate").touch()
        bench.wait(lambda: 7 in bench.outcomes)
        bench.wait(lambda: not bench.on_loop(bench.pool.running))


def test_a_pool_describes_itself_in_plain_values(pool: str) -> None:
    with Bench(make_timed_app(), pool) as bench:
        bench.run(job_for(1, "add", 1, 1))
        info = bench.on_loop(bench.pool.info)
        assert info["implementation"].startswith(f"amqtask.worker.pools.{pool}:")
        assert info["max-concurrency"] == (1 if pool == "solo" else 2)
        assert info["processes"] if pool == "prefork" else info["processes"] == [os.getpid()]


def test_idle_and_busy_pools_answer(pool: str, tmp_path: Path) -> None:
    with Bench(make_timed_app(), pool) as bench:
        bench.run(job_for(1, "add", 1, 1))
        answers: list[bool] = []
        bench.on_loop(lambda: bench.pool.ping(answers.append))
        bench.wait(lambda: answers)
        slots = bench.on_loop(bench.pool.free)
        bench.submit(*(job_for(10 + key, "meet", str(tmp_path), str(key), slots + 1) for key in range(slots)))
        bench.wait(lambda: len(list(tmp_path.iterdir())) == slots)
        bench.on_loop(lambda: bench.pool.ping(answers.append))
        bench.wait(lambda: len(answers) == 2)
        (tmp_path / "the last").touch()
        bench.wait(lambda: len(bench.outcomes) == slots + 1)
        assert answers == [True, True]
