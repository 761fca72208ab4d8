"""Events between Celery's programs and ours: Flower and ``celery events`` watch us, and we watch Celery's workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interop import QUIET, ShopWorker
from interop_shop import make_app
from private_broker.processes import free_ports
from waiting import wait_for
from watching import Watch

from amqtask.contrib.celery import Celery
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = [pytest.mark.rabbitmq, *QUIET]


@contextmanager
def celery_program(folder: Path, url: str, *words: str) -> Iterator[Path]:
    """A program of Celery's that needs no app; gives the file with its output."""
    log = folder / "celery.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-b", url, *words],
            cwd=folder,
            env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield log
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def app(vhost_url: str) -> Iterator[Celery]:
    app = make_app("amqtask", vhost_url, None)
    yield app
    app.close()


def worker_of(app: Celery, name: str) -> EmbeddedWorker:
    asked = Requested(pool="threads", hostname=name, concurrency=2)
    return EmbeddedWorker(app, resolve(asked, app.topology, app.settings))


def test_celerys_event_dump_shows_our_tasks(app: Celery, vhost_url: str, tmp_path: Path) -> None:
    app.conf.update(worker_send_task_events=True)
    with worker_of(app, "w1@here"), celery_program(tmp_path, vhost_url, "events", "--dump") as log:
        wait_for(lambda: "w1@here" in log.read_text())
        task_id = app.tasks["shop.add"].delay(2, y=3).id
        wait_for(lambda: "task succeeded" in log.read_text())
    text = log.read_text()
    assert f"shop.add({task_id}) args=(2,) kwargs={{'y': 3}}" in text, text
    assert "result=5" in text


def test_our_receiver_understands_celerys_workers(app: Celery, vhost_url: str, tmp_path: Path) -> None:
    state = app.events.State()
    worker = ShopWorker("celery", "solo", vhost_url, "rpc://", tmp_path, "-E", "-n", "theirs@here")
    try:
        worker.wait_ready()
        with Watch(app, state=state) as watch:
            result = app.tasks["shop.add"].delay(2, y=3)
            app.tasks["shop.fail"].delay("so it is")
            watch.wait("task-succeeded")
            watch.wait("task-failed")
            watch.wait("worker-heartbeat")
    finally:
        worker.close()
    task = state.tasks[result.id]
    assert (task.name, task.state, task.result, task.args) == ("shop.add", "SUCCESS", "5", "(2,)")
    assert [one.exception for _, one in state.tasks_by_type("shop.fail")] == ["ValueError('so it is')"]
    assert state.workers["theirs@here"].sw_ident == "py-celery"
    assert state.workers["theirs@here"].alive


def test_flower_shows_workers_tasks_and_counts(app: Celery, vhost_url: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    words = ("flower", f"--port={port}", "--address=127.0.0.1")

    def ask(path: str) -> dict[str, dict[str, object]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=60) as answer:
                found: dict[str, dict[str, object]] = json.load(answer)
                return found
        except OSError:
            return {}

    app.conf.update(worker_send_task_events=True)
    names = {"w1@here", "w2@here"}
    with worker_of(app, "w1@here"), worker_of(app, "w2@here"), celery_program(tmp_path, vhost_url, *words) as log:
        wait_for(lambda: set(ask("workers?status=1")) == names)
        assert wait_for(lambda: set(ask("workers?refresh=1")) == names, 30), log.read_text()
        ids = {app.tasks["shop.add"].delay(n, 1).id for n in range(6)}
        failed = app.tasks["shop.fail"].delay("so it is").id
        ended = {"SUCCESS", "FAILURE"}
        wait_for(lambda: len([one for one in ask("tasks").values() if one["state"] in ended]) == 7)
        tasks = ask("tasks")
        assert ids == {task_id for task_id, one in tasks.items() if one["state"] == "SUCCESS"}
        assert tasks[failed]["exception"] == "ValueError('so it is')"
        assert {one["worker"] for one in tasks.values()} <= names
        assert {one["args"] for one in tasks.values() if one["name"] == "shop.add"} == {f"({n}, 1)" for n in range(6)}
        assert len(ask("tasks?state=SUCCESS")) == 6
        stats = ask("workers")["w1@here"]["stats"]
        assert isinstance(stats, dict)
        assert stats["pool"]["max-concurrency"] == 2
