"""Every pool of the registry, through the same suite: what the worker may rely on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pool_app import HOSTILE, make_app
from pool_host import Bench, job_for

from amqtask.errors import QueueFull
from amqtask.execution.job import Kind
from amqtask.wire.codec import serializers
from amqtask.worker.pools.base import pools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=pools.names())
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with Bench(make_app(), request.param) as started:
        yield started


def test_result_is_reported_with_run_time_and_repr(bench: Bench) -> None:
    (outcome,) = bench.run(job_for(0, "add", 2, 3))
    assert (outcome.key, outcome.kind, outcome.text) == (0, Kind.SUCCESS, "5")
    assert 0 < outcome.runtime < 5


def test_coroutine_function_runs_in_every_pool(bench: Bench) -> None:
    outcomes = bench.run(*(job_for(key, "aadd", key, 1) for key in range(30)))
    assert [outcome.text for outcome in outcomes] == [str(key + 1) for key in range(30)]


def test_many_jobs_are_each_reported_once(bench: Bench) -> None:
    outcomes = bench.run(*(job_for(key, "add", key) for key in range(2000)))
    assert [outcome.text for outcome in outcomes] == [str(key) for key in range(2000)]


@pytest.mark.parametrize("which", HOSTILE)
@pytest.mark.parametrize("task", ["hostile", "ahostile"])
def test_hostile_exception_fails_the_task_and_nothing_else(bench: Bench, task: str, which: str) -> None:
    failed, healthy = bench.run(job_for(1, task, which), job_for(2, "add", 1, 1))
    assert failed.kind == Kind.FAILED
    assert failed.error is not None
    assert len(failed.error[1].encode()) <= 2048
    assert len(failed.error[2].encode()) <= 16_384
    assert healthy.text == "2"
    assert not bench.lost


def test_system_exit_in_a_task_of_the_loop_fails_only_what_waits_for_it(bench: Bench) -> None:
    if bench.host.concurrency and type(bench.pool).__name__ != "AsyncioPool":
        (failed,) = bench.run(job_for(1, "spawn_loop_exit"))
        assert failed.kind == Kind.FAILED
    else:
        bench.submit(job_for(1, "spawn_loop_exit"))
    assert bench.run(job_for(2, "aadd", 1, 1))[0].text == "2"


def test_unprintable_result_is_a_success(bench: Bench) -> None:
    (outcome,) = bench.run(job_for(1, "unprintable_result"))
    assert outcome.kind == Kind.SUCCESS
    assert "KeyboardInterrupt" in outcome.text


def test_retry_carries_delay_and_changed_headers(bench: Bench) -> None:
    (outcome,) = bench.run(job_for(1, "again", retries=1))
    assert (outcome.kind, outcome.delay, outcome.body) == (Kind.RETRY, 2.5, None)
    assert outcome.headers is not None
    assert outcome.headers["retries"] == 2


def test_retry_with_new_arguments_carries_a_body(bench: Bench) -> None:
    (outcome,) = bench.run(job_for(1, "again_with", 1))
    assert outcome.body is not None
    assert serializers.get("msgpack").loads(outcome.body) == [[1, 2], {"more": True}, {}]


@pytest.mark.parametrize(
    ("task", "args", "kind"),
    [
        ("reject", (False,), Kind.REJECTED),
        ("reject", (True,), Kind.REQUEUE),
        ("ignore", (), Kind.IGNORED),
        ("nobody", (), Kind.UNKNOWN_TASK),
        ("add", (), Kind.FAILED),
    ],
)
def test_other_ends_have_their_kind(bench: Bench, task: str, args: tuple[object, ...], kind: Kind) -> None:
    assert bench.run(job_for(1, task, *args))[0].kind == kind


def test_headers_with_every_amqp_type_reach_the_task(bench: Bench) -> None:
    headers = {"shop": "eu", "nested": {"list": [1, "two", None, True]}, "bytes": b"\xff"}
    (outcome,) = bench.run(job_for(1, "request", headers=headers))
    assert outcome.kind == Kind.SUCCESS
    assert "'shop': 'eu'" in outcome.text
    assert "'hostname': 'w1@here'" in outcome.text


def test_bodies_larger_than_any_socket_buffer_arrive(bench: Bench) -> None:
    jobs = [job_for(key, "size", bytes(3_000_000)) for key in range(6)]
    assert {outcome.text for outcome in bench.run(*jobs)} == {"3000000"}


def test_delay_inside_a_task_publishes_through_the_worker(bench: Bench) -> None:
    (outcome,) = bench.run(job_for(1, "send_more", 3))
    ids = json.loads(outcome.text.replace("'", '"'))
    assert [message.properties.correlation_id for message in bench.published] == ids
    assert bench.published[0].routing_key == "amqtask"


def test_batch_inside_a_task_is_published_whole(bench: Bench) -> None:
    assert bench.run(job_for(1, "send_batch", 1200))[0].text == "1200"
    assert len(bench.published) == 1200


def test_threads_inside_a_task_publish_at_the_same_time(bench: Bench) -> None:
    assert bench.run(job_for(1, "send_from_threads", 8))[0].text == "8"


def test_adelay_inside_a_coroutine_task_publishes(bench: Bench) -> None:
    assert bench.run(job_for(1, "asend_more", 20))[0].text == "20"
    assert len(bench.published) == 20


def test_publish_error_reaches_the_task_with_its_class(bench: Bench) -> None:
    bench.publish_error = QueueFull("queue 'amqtask' is full")
    (outcome,) = bench.run(job_for(1, "publish_error"))
    assert outcome.text == "\"QueueFull: queue 'amqtask' is full\""


def test_running_job_is_reported_after_close_and_no_room_is_offered(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    bench.submit(job_for(1, "wait_for_file", str(gate)))
    bench.wait((tmp_path / "gate.pid").exists)
    bench.on_loop(bench.pool.close)
    assert bench.on_loop(bench.pool.free) == 0
    gate.touch()
    bench.wait(lambda: 1 in bench.outcomes)
    assert bench.outcomes[1].kind == Kind.SUCCESS
    assert not bench.lost


def test_nothing_is_reported_after_terminate(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    bench.submit(job_for(1, "wait_for_file", str(gate)))
    bench.wait((tmp_path / "gate.pid").exists)
    bench.on_loop(bench.pool.terminate)
    gate.touch()
    bench.on_loop(lambda: None)
    assert bench.outcomes == {}
    assert bench.lost == []


def test_free_room_returns_after_work(bench: Bench) -> None:
    before = bench.on_loop(bench.pool.free)
    assert before >= 1
    bench.run(job_for(1, "hostile", "SystemExit"), job_for(2, "add", 1))
    assert bench.on_loop(bench.pool.free) >= before
