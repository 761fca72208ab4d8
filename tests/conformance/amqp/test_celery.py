"""Celery itself, unmodified, client and worker, over the broker under test."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Signature, chain, group
from celery_shop import make_app
from nodes import Node
from waiting import wait_for

SECONDS = 30
WORKERS = {"solo": "classic", "threads": "quorum"}
"""Pool: type of the queue that it consumes."""

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{warning}")
    for warning in ("DeprecationWarning", "PendingDeprecationWarning", "ResourceWarning")
]


class CeleryWorker:
    """``celery worker`` as a process, and the app of a client."""

    def __init__(self, url: str, pool: str, log: Path) -> None:
        self.app: Celery = make_app(url, WORKERS[pool])
        self.log = log
        words = ["-A", "celery_shop", "worker", "-P", pool, "-c", "4", "-l", "info", "-n", f"{pool}@conformance"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", *words],
                cwd=Path(__file__).parent,
                env={**os.environ, "BROKER_URL": url, "QUEUE_TYPE": WORKERS[pool], "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: self.process.poll() is not None or " ready." in self.text(), SECONDS)
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def task(self, name: str, *args: Any, **options: Any) -> Signature:
        """A signature of one of the worker's tasks."""
        return self.app.signature(f"celery_shop.{name}", args=args, **options)

    def stop(self) -> int:
        """End it as an operator does; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        """End it in any case, and let go of the client's connections: Celery leaves some to the collector."""
        self.process.kill()
        self.process.wait()
        self.app.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del self.app
            gc.collect()


@pytest.fixture(scope="module", params=WORKERS)
def worker(
    request: pytest.FixtureRequest, broker_node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CeleryWorker]:
    vhost = f"celery-{uuid.uuid4().hex[:12]}"
    url = broker_node.add_vhost(vhost)
    made = CeleryWorker(url, request.param, tmp_path_factory.mktemp("celery") / "log")
    try:
        yield made
        assert made.stop() == 0, made.text()
        troubles = [
            line for line in made.text().splitlines() if "CRITICAL" in line or "onnection to broker lost" in line
        ]
        assert not troubles
    finally:
        made.close()
        broker_node.delete_vhost(vhost)


def test_celery_returns_a_result(worker: CeleryWorker) -> None:
    assert worker.task("add", 1, 2).delay().get(timeout=SECONDS) == 3


def test_celery_runs_a_chain(worker: CeleryWorker) -> None:
    work = chain(worker.task("add", 1, 2), worker.task("add", 3), worker.task("add", 4), app=worker.app)
    assert work.delay().get(timeout=SECONDS) == 10


def test_celery_runs_a_group(worker: CeleryWorker) -> None:
    work = group([worker.task("add", number, number) for number in range(50)], app=worker.app)
    assert work.delay().get(timeout=SECONDS) == [number * 2 for number in range(50)]


def test_celery_reports_a_failure(worker: CeleryWorker) -> None:
    with pytest.raises(ValueError, match="as it should"):
        worker.task("fail").delay().get(timeout=SECONDS)


def test_celery_retries_later(worker: CeleryWorker) -> None:
    begin = time.time()
    assert worker.task("succeed_at_third").delay().get(timeout=SECONDS) == 2
    assert time.time() - begin >= 2


def test_celery_runs_a_task_after_a_countdown(worker: CeleryWorker) -> None:
    begin = time.time()
    assert worker.task("moment").apply_async(countdown=2).get(timeout=SECONDS) - begin >= 1.9


def test_celery_runs_a_task_at_its_time(worker: CeleryWorker) -> None:
    due = datetime.now(UTC) + timedelta(seconds=2)
    moment = worker.task("moment").apply_async(eta=due).get(timeout=SECONDS)
    assert moment >= due.timestamp() - 1  # native delays count whole seconds


def test_celery_carries_large_arguments(worker: CeleryWorker) -> None:
    assert worker.task("size", "x" * 2_000_000).delay().get(timeout=SECONDS) == 2_000_000


def test_celery_expires_results_and_tasks(worker: CeleryWorker) -> None:
    late = worker.task("add", 1, 1).apply_async(expires=datetime.now(UTC) - timedelta(seconds=5))
    wait_for(lambda: late.id in worker.text(), SECONDS)
    assert worker.task("add", 2, 2).delay().get(timeout=SECONDS) == 4
    assert f"[{late.id}] succeeded" not in worker.text()


def test_celery_answers_remote_control(worker: CeleryWorker) -> None:
    control = worker.app.control
    (answer,) = control.ping(timeout=SECONDS, limit=1)
    assert list(answer.values()) == [{"ok": "pong"}]
    (registered,) = control.inspect(timeout=SECONDS, limit=1).registered().values()
    assert "celery_shop.add" in registered


def test_celery_revokes_a_task(worker: CeleryWorker) -> None:
    waiting = worker.task("add", 1, 1).apply_async(countdown=3)
    worker.app.control.revoke(waiting.id)
    wait_for(lambda: f"Discarding revoked task: celery_shop.add[{waiting.id}]" in worker.text(), SECONDS)
