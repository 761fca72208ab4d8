"""Prefork children, the fork server and the worker die in every way: nothing is lost, nothing is left over."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from pool_app import make_app
from pool_host import Bench, job_for

from amqtask.execution.job import Kind
from amqtask.worker.pools.prefork.pool import PreforkPool

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(make_app(), "prefork") as started:
        yield started


def pids(bench: Bench) -> list[int]:
    """Processes of the children."""
    assert isinstance(bench.pool, PreforkPool)
    bench.wait(lambda: all(slot.pid and slot.ready for slot in bench.pool._slots))  # type: ignore[attr-defined]
    return [slot.pid for slot in bench.pool._slots]


def runs(process: psutil.Process) -> bool:
    """False for a dead process that nobody has reaped, too."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def server_pid(bench: Bench) -> int:
    assert isinstance(bench.pool, PreforkPool)
    return bench.pool._server.pid


@pytest.mark.parametrize(
    ("task", "args", "reason"),
    [
        ("exit", (3,), "exit status 3"),
        ("exit", (0,), "exit status 0"),
        ("kill", (signal.SIGKILL,), "signal 9 (SIGKILL)"),
        ("segfault", (), "signal 11 (SIGSEGV)"),
        ("kill", (signal.SIGABRT,), "signal 6 (SIGABRT)"),
        ("close_all", (), "signal 9 (SIGKILL)"),
        ("garbage", (), "signal 9 (SIGKILL)"),
    ],
)
def test_running_job_of_a_dead_child_is_blamed_and_the_child_replaced(
    bench: Bench, task: str, args: tuple[int, ...], reason: str
) -> None:
    before = pids(bench)
    bench.submit(job_for(7, task, *map(int, args)))
    bench.wait(lambda: bench.lost)
    assert bench.lost == [([7], [], reason)]
    outcomes = bench.run(*(job_for(key, "add", key) for key in range(100, 150)))
    assert {outcome.kind for outcome in outcomes} == {Kind.SUCCESS}
    assert len(set(pids(bench)) - set(before)) == 1


def test_jobs_behind_the_running_one_are_innocent() -> None:
    with Bench(make_app(), "prefork", concurrency=1) as bench:
        pool = bench.pool
        assert isinstance(pool, PreforkPool)
        pids(bench)
        pool._dispatch.run_times.is_short = lambda _name: True  # type: ignore[method-assign]
        pool._slots[0].counted, pool._dispatch.room = 8, 8
        bench.submit(job_for(1, "exit", 9), job_for(2, "add", 1), job_for(3, "add", 1))
        bench.wait(lambda: bench.lost)
        assert bench.lost == [([1], [2, 3], "exit status 9")]


def test_jobs_behind_one_that_turns_out_long_go_to_another_child(tmp_path: Path) -> None:
    with Bench(make_app(), "prefork") as bench:
        pool = bench.pool
        assert isinstance(pool, PreforkPool)
        pids(bench)
        short = pool._dispatch.run_times.is_short
        pool._dispatch.run_times.is_short = lambda _name: True  # type: ignore[method-assign]
        gate = tmp_path / "gate"

        def stuff() -> None:
            # as if one child had the long job and three more
            first = pool._slots[0]
            first.give(job_for(1, "wait_for_file", str(gate)), short=True)
            for key in (2, 3, 4):
                first.give(job_for(key, "where"), short=True)
            first.flush()
            pool._dispatch.recount(first)
            pool._dispatch.run_times.is_short = short  # type: ignore[method-assign]

        bench.on_loop(stuff)
        bench.wait(lambda: {2, 3, 4} <= bench.outcomes.keys())
        assert 1 not in bench.outcomes
        gate.touch()
        bench.wait(lambda: 1 in bench.outcomes)
        long = bench.outcomes[1].text
        assert all(long not in bench.outcomes[key].text for key in (2, 3, 4))


def test_jobs_that_came_behind_one_that_had_begun_alone_go_to_another_child_too(tmp_path: Path) -> None:
    with Bench(make_app(), "prefork") as bench:
        pids(bench)
        pool = bench.pool
        assert isinstance(pool, PreforkPool)
        gates = [str(tmp_path / f"gate{number}") for number in range(2)]
        bench.submit(*(job_for(number, "wait_for_file", gates[number]) for number in range(2)))
        bench.wait(lambda: all(Path(gate + ".pid").exists() for gate in gates))

        def stuff() -> None:
            # as if the task of the first child were known to be short
            first = pool._slots[0]
            for key in (2, 3, 4):
                first.give(job_for(key, "where"), short=True)
            pool._watch.expect(first, 0.05)
            first.flush()
            pool._dispatch.recount(first)

        bench.on_loop(stuff)
        other = next(number for number in range(2) if number not in pool._slots[0].jobs)
        Path(gates[other]).touch()
        bench.wait(lambda: {2, 3, 4} <= bench.outcomes.keys())
        assert len(bench.outcomes) == 4
        Path(gates[1 - other]).touch()
        bench.wait(lambda: len(bench.outcomes) == 5)


def test_sigterm_ends_a_child_after_its_running_job(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    bench.submit(job_for(1, "wait_for_file", str(gate)))
    report = tmp_path / "gate.pid"
    bench.wait(lambda: report.exists() and report.read_text())
    child = int(report.read_text())
    os.kill(child, signal.SIGTERM)
    gate.touch()
    bench.wait(lambda: 1 in bench.outcomes)
    assert bench.outcomes[1].text == str(child)
    bench.wait(lambda: child not in pids(bench))
    assert not bench.lost


def test_sigterm_ends_an_idle_child_and_sigint_does_nothing(bench: Bench) -> None:
    first, second = pids(bench)
    os.kill(second, signal.SIGINT)
    os.kill(first, signal.SIGTERM)
    bench.wait(lambda: first not in pids(bench))
    assert second in pids(bench)
    assert bench.run(job_for(1, "add", 1))[0].kind == Kind.SUCCESS


def test_fork_that_slips_out_of_a_task_reports_nothing(bench: Bench) -> None:
    (outcome,) = bench.run(job_for(1, "fork_and_raise"))
    assert outcome.kind == Kind.SUCCESS
    assert bench.run(job_for(2, "add", 1))[0].kind == Kind.SUCCESS


def test_children_that_die_before_they_are_up_are_replaced_with_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("amqtask.worker.pools.prefork.pool.child_main", lambda *_: os._exit(5))
    with caplog.at_level(logging.ERROR), Bench(make_app(), "prefork", concurrency=1) as bench:
        bench.submit(job_for(1, "add", 1))
        bench.wait(lambda: caplog.text.count("died before it was up (exit status 5)") >= 3)
        assert [record.args[2] for record in caplog.records[:3]] == [0.2, 0.4, 0.8]  # type: ignore[index]
        assert all(blamed == [] for blamed, _, _ in bench.lost)


def test_dead_fork_server_is_a_failure_of_the_pool(bench: Bench, tmp_path: Path) -> None:
    children = [psutil.Process(pid) for pid in pids(bench)]
    bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
    bench.wait((tmp_path / "gate.pid").exists)
    os.kill(server_pid(bench), signal.SIGKILL)
    bench.wait(lambda: bench.failed)
    assert bench.lost == [([1], [], "the fork server died, and its children with it")]
    bench.wait(lambda: not any(runs(child) for child in children))


def test_jobs_that_no_child_had_yet_are_lost_with_the_fork_server_too(bench: Bench, tmp_path: Path) -> None:
    gates = [str(tmp_path / f"gate{number}") for number in range(3)]
    bench.submit(*(job_for(number, "wait_for_file", gates[number]) for number in range(2)))
    bench.wait(lambda: all(Path(gate + ".pid").exists() for gate in gates[:2]))
    bench.on_loop(lambda: bench.pool.submit(job_for(2, "wait_for_file", gates[2])))
    os.kill(server_pid(bench), signal.SIGKILL)
    bench.wait(lambda: bench.failed)
    assert sorted(key for blamed, innocent, _ in bench.lost for key in (*blamed, *innocent)) == [0, 1, 2]


def test_close_ends_idle_children_and_the_fork_server(bench: Bench) -> None:
    processes = [psutil.Process(pid) for pid in (*pids(bench), server_pid(bench))]
    bench.on_loop(bench.pool.close)
    bench.wait(lambda: not any(runs(process) for process in processes))


def test_terminate_leaves_no_process(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "spinning"
    bench.submit(job_for(1, "spin", str(path)))
    bench.wait(path.exists)
    processes = [psutil.Process(pid) for pid in (*pids(bench), server_pid(bench))]
    bench.on_loop(bench.pool.terminate)
    bench.wait(lambda: not any(runs(process) for process in processes))


def test_every_job_is_reported_or_lost_exactly_once_while_children_are_killed(bench: Bench) -> None:
    count = 6000
    bench.submit(*(job_for(key, "add", key) for key in range(count)))
    for done in range(500, 5500, 1000):
        bench.wait(lambda: len(bench.outcomes) >= done)  # noqa: B023 -- called before the loop goes on
        os.kill(pids(bench)[done // 500 % 2], signal.SIGKILL)

    def lost() -> list[int]:
        return [key for blamed, innocent, _ in bench.lost for key in (*blamed, *innocent)]

    bench.wait(lambda: len(bench.outcomes) + len(lost()) >= count)
    assert sorted([*bench.outcomes, *lost()]) == list(range(count))
    assert all(len(blamed) <= 1 for blamed, _, _ in bench.lost)


_WORKER = """
import sys
from pool_app import make_app
from pool_host import Bench, job_for
with Bench(make_app(), "prefork") as bench:
    bench.submit(job_for(1, "spin", sys.argv[1]))
    bench.wait(lambda: False, 60)
"""


def test_killed_worker_leaves_no_child_behind_not_even_a_busy_one(tmp_path: Path) -> None:
    path = tmp_path / "spinning"
    here = Path(__file__).parents[1]
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(path)], env={**os.environ, "PYTHONPATH": f"{here}:{here.parent}"}
    )
    try:
        parent = psutil.Process(worker.pid)
        with Bench(make_app(), "solo") as watch:  # for its wait()
            watch.wait(lambda: path.exists() and path.read_text() and len(parent.children(recursive=True)) == 3)
        family = parent.children(recursive=True)
    finally:
        worker.kill()
        worker.wait()
    psutil.wait_procs(family, timeout=20)
    assert not [process for process in family if runs(process)]
