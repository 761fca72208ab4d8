"""Prefork children that don't move: stopped, not coming up, not taking jobs, not leaving. Their jobs go elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from crowd import pids, pool_of, server_pid
from pool_app import make_app
from pool_host import Bench, job_for

from amqtask.execution.job import Kind
from amqtask.signals import worker_process_shutdown
from amqtask.worker.pools.prefork.child import Child
from amqtask.worker.pools.prefork.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 1.0


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(make_app(worker_proc_alive_timeout=PATIENCE), "prefork", concurrency=1) as started:
        yield started


def is_stopped(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def test_job_that_a_stopped_child_was_given_goes_elsewhere(bench: Bench) -> None:
    (child,) = pids(bench)
    os.kill(child, signal.SIGSTOP)
    bench.wait(lambda: is_stopped(child))
    bench.submit(job_for(1, "add", 1))
    bench.wait(lambda: bench.lost)
    assert bench.lost == [([], [1], "it was stopped for 1 s")]
    assert bench.run(job_for(2, "where"))[0].text != str(child)


def test_job_that_a_stopped_child_runs_counts_as_its_crash(bench: Bench, tmp_path: Path) -> None:
    (child,) = pids(bench)
    bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
    bench.wait((tmp_path / "gate.pid").exists)
    os.kill(child, signal.SIGSTOP)
    bench.wait(lambda: bench.lost)
    assert bench.lost == [([1], [], "it was stopped for 1 s")]


def test_child_that_is_continued_in_time_goes_on(bench: Bench, tmp_path: Path) -> None:
    (child,) = pids(bench)
    bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
    bench.wait((tmp_path / "gate.pid").exists)
    for _ in range(8):  # longer than its patience in all
        os.kill(child, signal.SIGSTOP)
        bench.wait(lambda: is_stopped(child))
        os.kill(child, signal.SIGCONT)
        again = time.monotonic() + PATIENCE / 6
        bench.wait(lambda: time.monotonic() > again)  # noqa: B023 -- called before the loop goes on
    (tmp_path / "gate").touch()
    bench.wait(lambda: 1 in bench.outcomes)
    assert pids(bench) == [child]
    assert not bench.lost


def test_child_that_does_not_come_up_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    marker = tmp_path / "first"
    run = Child.run

    def hang(self: Child) -> None:
        if not marker.exists():
            marker.touch()
            signal.pause()
        run(self)

    monkeypatch.setattr(Child, "run", hang)
    with Bench(make_app(worker_proc_alive_timeout=PATIENCE), "prefork", concurrency=1) as bench:
        bench.submit(job_for(1, "add", 1))
        bench.wait(lambda: bench.lost)
        assert bench.lost == [([], [1], "it did not come up within 1 s")]
        assert bench.run(job_for(2, "add", 1))[0].kind == Kind.SUCCESS
        assert "died before it was up (it did not come up within 1 s)" in caplog.text


def test_job_that_a_child_does_not_take_goes_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    marker = tmp_path / "first"
    run = Child.run

    def deaf(self: Child) -> None:
        if not marker.exists():
            marker.touch()
            self._pipe.write(Frame.READY)
            signal.pause()
        run(self)

    monkeypatch.setattr(Child, "run", deaf)
    with Bench(make_app(worker_proc_alive_timeout=PATIENCE), "prefork", concurrency=1) as bench:
        pids(bench)
        bench.submit(job_for(1, "add", 1))
        bench.wait(lambda: bench.lost)
        assert bench.lost == [([], [1], "it did not take a job within 1 s")]
        assert bench.run(job_for(2, "add", 1))[0].kind == Kind.SUCCESS


def test_child_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Child.run

    def stay(self: Child) -> None:
        run(self)
        signal.pause()

    monkeypatch.setattr(Child, "run", stay)
    with Bench(make_app(worker_proc_alive_timeout=PATIENCE), "prefork", concurrency=2) as bench:
        children = [psutil.Process(pid) for pid in pids(bench)]
        bench.on_loop(lambda: bench.pool.shrink(1))
        bench.wait(lambda: sum(child.is_running() for child in children) == 1)
        assert bench.on_loop(lambda: bench.pool.size) == 1
        assert bench.run(job_for(2, "add", 1))[0].kind == Kind.SUCCESS


def test_idle_child_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    marker = tmp_path / "first"
    run = Child.run

    def deaf(self: Child) -> None:
        if not marker.exists():
            marker.touch()
            self._pipe.write(Frame.READY)
            signal.pause()
        run(self)

    monkeypatch.setattr(Child, "run", deaf)
    with Bench(make_app(worker_proc_alive_timeout=PATIENCE), "prefork", concurrency=1) as bench:
        (child,) = pids(bench)
        answers: list[bool] = []
        bench.on_loop(lambda: bench.pool.ping(answers.append))
        bench.wait(lambda: answers)
        bench.wait(lambda: child not in pids(bench))
        bench.on_loop(lambda: bench.pool.ping(answers.append))
        bench.wait(lambda: len(answers) == 2)
        assert answers == [False, True]


def test_fork_server_that_does_not_answer_is_told(bench: Bench) -> None:
    pids(bench)
    server, answers = server_pid(bench), []
    os.kill(server, signal.SIGSTOP)
    try:
        bench.on_loop(lambda: bench.pool.ping(answers.append))
        bench.wait(lambda: answers)
    finally:
        os.kill(server, signal.SIGCONT)
    bench.on_loop(lambda: bench.pool.ping(answers.append))
    bench.wait(lambda: len(answers) == 2)
    assert answers == [False, True]


def test_every_job_is_reported_or_lost_exactly_once_while_children_are_stopped_and_killed() -> None:
    settings = {"worker_proc_alive_timeout": PATIENCE, "worker_max_tasks_per_child": 40}
    with Bench(make_app(**settings), "prefork", concurrency=3) as bench:
        count = 3000
        bench.submit(*(job_for(key, "add", key) for key in range(count)))
        for done in range(200, 2600, 200):
            bench.wait(lambda: len(bench.outcomes) >= done)  # noqa: B023 -- called before the loop goes on
            child = pids(bench)[done // 200 % 3]
            with contextlib.suppress(ProcessLookupError):  # it has had its share of tasks meanwhile
                os.kill(child, signal.SIGKILL if done % 400 else signal.SIGSTOP)

        def lost() -> list[int]:
            return [key for blamed, innocent, _ in bench.lost for key in (*blamed, *innocent)]

        bench.wait(lambda: len(bench.outcomes) + len(lost()) >= count, 30)
        assert sorted([*bench.outcomes, *lost()]) == list(range(count))
        assert len(bench.lost) <= 12


def test_jobs_behind_one_that_cannot_be_handed_over_are_run(bench: Bench) -> None:
    pids(bench)
    nested: dict[str, object] = {}
    for _ in range(2000):
        nested = {"deeper": nested}
    pool = pool_of(bench)

    def give() -> None:
        pool._dispatch._calm = True  # so that there is room for more than the only child takes
        pool.submit(job_for(1, "add", 1, headers={"hostile": nested}))
        pool.submit(job_for(2, "add", 2))
        pool.flush()

    bench.on_loop(give)
    bench.wait(lambda: 2 in bench.outcomes)
    assert bench.outcomes[1].kind == Kind.UNDECODABLE
    assert bench.outcomes[2].kind == Kind.SUCCESS


def test_child_that_cannot_be_made_is_made_later_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    worker, fork, full = os.getpid(), os.fork, tmp_path / "full"

    def refuse() -> int:
        if os.getpid() != worker and full.exists():
            full.unlink()
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", refuse)
    with Bench(make_app(), "prefork", concurrency=1) as bench:
        (child,) = pids(bench)
        full.touch()
        bench.on_loop(lambda: bench.pool.grow(1))
        bench.wait(lambda: "no process can be made: [Errno 11]" in caplog.text)
        bench.wait(lambda: len(pids(bench)) == 2)
        assert child in pids(bench)
        assert not bench.failed


def test_silence_of_a_child_that_has_work_is_not_its_end(bench: Bench, tmp_path: Path) -> None:
    pids(bench)
    bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
    bench.wait((tmp_path / "gate.pid").exists)
    pool = pool_of(bench)
    bench.on_loop(lambda: pool._on_silence(pool._slots[0]))
    (tmp_path / "gate").touch()
    bench.wait(lambda: 1 in bench.outcomes)
    assert not bench.lost


def test_idle_child_that_is_told_to_end_says_goodbye(tmp_path: Path) -> None:
    said = tmp_path / "said"

    def goodbye(pid: int, **_: object) -> None:
        said.write_text(str(pid))

    worker_process_shutdown.connect(goodbye)
    with Bench(make_app(), "prefork", concurrency=1) as bench:
        (child,) = pids(bench)
        os.kill(child, signal.SIGTERM)
        bench.wait(lambda: said.exists() and said.read_text())
        assert said.read_text() == str(child)
        bench.wait(lambda: pids(bench) != [child])


def test_child_that_cannot_write_its_stacks_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_file(*_: object, **__: object) -> None:
        raise AttributeError("fileno")

    monkeypatch.setattr("faulthandler.register", no_file)
    with Bench(make_app(), "prefork", concurrency=1) as bench:
        (child,) = pids(bench)
        bench.submit(job_for(1, "wait_for_file", str(tmp_path / "gate")))
        bench.wait((tmp_path / "gate.pid").exists)
        os.kill(child, signal.SIGUSR1)
        (tmp_path / "gate").touch()
        bench.wait(lambda: bench.lost or bench.outcomes)
        assert not bench.lost
