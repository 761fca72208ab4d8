"""Programs written for Celery, out of articles, run with their imports changed; see :mod:`seed_programs`."""

from __future__ import annotations

import importlib
import runpy
import sys
import types
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from seed_programs import DATA, EDITS, NOT_RUN, program, with_claims
from stores import redis_server
from waiting import wait_for

from amqtask import Amqtask
from amqtask.contrib.celery.absent import Unavailable
from amqtask.contrib.celery.schedules import crontab, schedule, solar
from amqtask.execution.job import Kind
from amqtask.symbols import find_app
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytestmark = pytest.mark.rabbitmq

APP = """
from amqtask.contrib.celery import Celery
app = Celery("seed", broker={broker!r}, backend={backend!r})
"""

TASKS = (
    APP
    + """
noted = []

@app.task
def add(x, y, more=None, debug=False):
    return x + y

@app.task
def xsum(numbers):
    return sum(numbers)

@app.task
def reset_buffers():
    noted.append("reset")

@app.task
def other_task(result):
    noted.append(result)

"""
)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as running:
        yield running.url


class Seeds:
    """A folder in which programs are written and imported, and the workers that run their tasks."""

    def __init__(self, folder: Path, broker: str, backend: str) -> None:
        self.folder, self.broker, self.backend = folder, broker, backend
        self._apps: list[Amqtask] = []
        self._workers: list[EmbeddedWorker] = []

    def text(self, name: str) -> str:
        return program(name, self.broker, self.backend)

    def preamble(self, text: str) -> str:
        return text.format(broker=self.broker, backend=self.backend)

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def load(self, name: str, text: str | None = None) -> Any:
        """Import a module, written before or given here."""
        if text is not None:
            self.write(f"{name}.py", text)
        return importlib.import_module(name)

    def work(self, path: str, *queues: str) -> EmbeddedWorker:
        """Start a worker of the app that ``-A`` finds there."""
        app = find_app(path, Amqtask)
        app.load_tasks()
        options = resolve(Requested(pool="threads", queues=queues), app.topology, app.settings)
        worker = EmbeddedWorker(app, options)
        worker.start()
        self._apps.append(app)
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        for app in self._apps:
            app.close()


@pytest.fixture
def seeds(tmp_path: Path, vhost_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seeds]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made = Seeds(tmp_path, vhost_url, redis_url)
    yield made
    made.close()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_every_block_is_run_or_said_to_be_left_out() -> None:
    assert {path.stem for path in DATA.glob("*.txt")} == EDITS.keys() | NOT_RUN.keys()


def test_000_task_that_takes_its_time_is_sent_from_a_shell(seeds: Seeds) -> None:
    seeds.write("tasks.py", seeds.text("000-tasks"))
    worker = seeds.work("tasks")
    shell = seeds.load("shell", seeds.text("000-shell"))
    assert shell.t.get(timeout=10) == 3
    assert worker.counts.ended[Kind.SUCCESS] == 1


def test_001_monitor_is_told_that_there_are_no_events(seeds: Seeds) -> None:
    seeds.write("monitor.py", seeds.text("001-monitor"))
    with pytest.raises(Unavailable, match="events of workers are not there yet"):
        runpy.run_path("monitor.py", run_name="__main__")


def test_001_schedules_are_kept(seeds: Seeds) -> None:
    made = seeds.load("tasks", seeds.text("001-beat"))
    assert made.app.conf.timezone == "Asia/Shanghai"
    entries = made.app.conf.beat_schedule
    assert entries["add-every-30-seconds"] == {
        "task": "tasks.add",
        "schedule": solar("sunset", -37.81753, 144.96715),
        "args": (16, 16),
    }
    assert entries["add every 10"]["schedule"] == schedule(10.0, app=made.app)
    assert entries["add every 10"]["args"] == ("hello",)
    assert [entry["args"] for entry in entries.values() if entry.get("options")] == [("world",)]
    assert crontab(hour=7, minute=30, day_of_week=1) in [entry["schedule"] for entry in entries.values()]
    assert len(entries) == 4
    with pytest.raises(Unavailable, match="the scheduler is not there yet"):
        entries["add every 10"]["schedule"].is_due(datetime.now().astimezone())


def test_001_canvas_gives_what_its_comments_say(seeds: Seeds) -> None:
    claims = with_claims(seeds.text("001-canvas"))
    assert claims.count("assert ") == 12
    tasks = seeds.load("tasks", seeds.preamble(TASKS))
    worker = seeds.work("tasks")
    flow = seeds.load("flow", f"from tasks import *\n{claims}")
    assert flow.res.get(timeout=10) == [[2 * n for n in range(start, start + 10)] for start in range(0, 100, 10)]
    wait_for(lambda: sorted(map(str, tasks.noted)) == ["4", "reset", "reset"], 10)
    wait_for(lambda: not worker.busy, 10)
    assert worker.counts.ended.keys() == {Kind.SUCCESS}


def test_001_map_takes_ranges(seeds: Seeds) -> None:
    tasks = seeds.load("tasks", seeds.preamble(TASKS))
    seeds.work("tasks")
    assert tasks.xsum.map([range(10), range(100)]).delay().get(timeout=10) == [45, 4950]


def test_001_limits_are_kept_and_remote_control_is_told_to_be_missing(
    seeds: Seeds, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unavailable, match=r"app\.control\.time_limit: remote control of workers is not there yet"):
        seeds.load("limits", seeds.preamble(APP) + seeds.text("001-limits"))
    assert "there is no option time_soft_limit; did you mean" in caplog.text
    assert "the option rate_limit is kept, but without effect" in caplog.text


def test_001_settings_of_children_are_kept(seeds: Seeds) -> None:
    seeds.write("settings.py", seeds.text("001-children"))
    made = seeds.load("made", seeds.preamble(APP) + "app.config_from_object('settings')")
    assert made.app.conf.worker_max_tasks_per_child == 10
    assert made.app.conf.worker_max_memory_per_child == 12000


def test_002_project_is_configured_by_a_module_of_old_names(seeds: Seeds) -> None:
    seeds.write("your_project/__init__.py", "")
    for name in ("celery", "tasks", "config"):
        seeds.write(f"your_project/{name}.py", seeds.text(f"002-{name}"))
    worker = seeds.work("your_project")
    from your_project.tasks import add, app, sub  # type: ignore[import-not-found]

    assert (app.conf.accept_content, app.conf.timezone) == (("json",), "Asia/Shanghai")
    assert (app.conf.result_expires, app.conf.task_ignore_result) == (3600, True)
    assert (app.conf.worker_concurrency, worker.options.concurrency) == (6, 6)
    assert app.conf.CELERYD_MAX_TASKS_PER_CHILD == 1024
    assert app.conf.beat_schedule_filename == "log/celery.db"
    assert not app.conf.result_persistent
    add.delay(2, 2)
    sub.delay(2, 2)
    wait_for(lambda: worker.counts.ended == {Kind.SUCCESS: 2}, 10)


def test_003_result_is_found_by_its_id(seeds: Seeds, capsys: pytest.CaptureFixture[str]) -> None:
    seeds.write("task.py", seeds.text("003-task"))
    seeds.work("task")
    handle = seeds.load("handle", seeds.text("003-handle"))
    printed = capsys.readouterr().out.strip()
    assert printed == handle.res.id
    assert find_app("task", Amqtask).AsyncResult(printed).get(timeout=10) == 6


def test_004_tasks_share_the_default_queue(seeds: Seeds) -> None:
    made = seeds.load("shop", seeds.preamble(APP) + seeds.text("004-tasks"))
    seeds.work("shop", "celery")
    assert made.my_taskA.delay(1, 2, 3).get(timeout=10) is None
    assert made.my_taskB.delay(1, 2).get(timeout=10) is None


def test_004_queues_and_routes_keep_tasks_apart(seeds: Seeds) -> None:
    queues = "from amqtask import Exchange, Queue\n"
    seeds.write("settings.py", queues + seeds.text("004-queues") + seeds.text("004-routes"))
    tasks = "".join(f"\n@app.task(name='my_task{x}')\ndef task_{x}():\n    return '{x}'\n" for x in "AB")
    made = seeds.load("shop", seeds.preamble(APP) + "app.config_from_object('settings')\n" + tasks)
    only_a = seeds.work("shop", "for_task_A")
    waiting = made.task_B.delay()
    assert made.task_A.delay().get(timeout=10) == "A"
    assert not waiting.ready()
    assert only_a.counts.received == 1
    seeds.work("shop", "for_task_B")
    assert waiting.get(timeout=10) == "B"


@pytest.mark.filterwarnings(r"ignore:.*self.retry\(error\) was taken as")
def test_004_error_of_the_network_is_retried(seeds: Seeds) -> None:
    network = """
class SomeNetworkException(Exception):
    pass

def print(text):
    if "cleanup" not in text and "clenup" not in text:
        raise SomeNetworkException(text)
"""
    made = seeds.load("shop", seeds.preamble(APP) + network + seeds.text("004-retry"))
    worker = seeds.work("shop")
    result = made.my_task_A.delay()
    wait_for(lambda: worker.counts.ended == {Kind.RETRY: 1}, 10)
    wait_for(lambda: result.state == "RETRY", 10)


def _configured(seeds: Seeds, name: str) -> Any:
    seeds.write("settings.py", seeds.text(name))
    return seeds.load("made", seeds.preamble(APP) + "app.config_from_object('settings')").app.conf


def test_004_results_are_ignored(seeds: Seeds) -> None:
    assert _configured(seeds, "004-ignore").task_ignore_result is True


def test_004_bounds_of_connections_are_taken(seeds: Seeds, caplog: pytest.LogCaptureFixture) -> None:
    conf = _configured(seeds, "004-pool")
    assert conf.result_backend_max_connections == conf.redis_max_connections == 60
    assert conf.broker_pool_limit == 50
    assert "without effect in amqtask: broker_pool_limit, broker_transport_options" in caplog.text


def test_004_watchdog_runs(seeds: Seeds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    database: Any = types.ModuleType("MySQLdb")
    rows: Callable[[], Any] = lambda: [(1, datetime.now())]  # noqa: DTZ005 -- as the database gives it
    cursor = types.SimpleNamespace(execute=lambda _: 1, fetchall=rows)
    database.connect = lambda **_: types.SimpleNamespace(cursor=lambda: cursor)
    monkeypatch.setitem(sys.modules, "MySQLdb", database)
    seeds.write("watchdog.py", seeds.text("004-watchdog"))
    runpy.run_path("watchdog.py", run_name="__main__")
    assert capsys.readouterr().out.endswith("not need\nend\n")
