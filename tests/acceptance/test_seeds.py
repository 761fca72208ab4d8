"""Programs written for Celery, out of articles, run with their imports changed; see :mod:`seed_programs`."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from beats import beating
from seed_programs import DATA, EDITS, program, with_claims
from stores import redis_server
from waiting import wait_for

from amqtask import Amqtask
from amqtask.contrib.celery.schedules import crontab, schedule, solar
from amqtask.execution.job import Kind
from amqtask.symbols import find_app
from amqtask.tasks.limits import parse_rate
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
        loaded = importlib.import_module(name)
        assert Path(str(loaded.__file__)).parent == self.folder, f"{name} is also the name of a module elsewhere"
        return loaded

    def work(self, path: str, *queues: str, name: str | None = None) -> EmbeddedWorker:
        """Start a worker of the app that ``-A`` finds there."""
        app = self.adopt(path)
        app.load_tasks()
        options = resolve(Requested(queues=queues, pool="threads", hostname=name), app.topology, app.settings)
        worker = EmbeddedWorker(app, options)
        worker.start()
        self._workers.append(worker)
        return worker

    def adopt(self, path: str) -> Amqtask:
        """The app that ``-A`` finds there, which is closed in the end."""
        app = find_app(path, Amqtask)
        self._apps.append(app)
        return app

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


def test_every_block_is_run() -> None:
    assert {path.stem for path in DATA.glob("*.txt")} == EDITS.keys()
    tests = Path(__file__).read_text()
    assert [name for name in EDITS if f'"{name}"' not in tests and name[:4] != "002-"] == []


def test_000_task_that_takes_its_time_is_sent_from_a_shell(seeds: Seeds) -> None:
    seeds.write("tasks.py", seeds.text("000-tasks"))
    worker = seeds.work("tasks")
    shell = seeds.load("shell", seeds.text("000-shell"))
    assert shell.t.get(timeout=30) == 3
    assert worker.counts.ended[Kind.SUCCESS] == 1


FAILING = """
app.conf.worker_send_task_events = True

@app.task
def fail():
    raise KeyError("gone")
"""


def test_001_monitor_prints_tasks_that_fail(seeds: Seeds) -> None:
    failing = seeds.load("failing", seeds.preamble(APP) + FAILING)
    seeds.work("failing")
    seeds.write("monitor.py", seeds.text("001-monitor"))
    printed = seeds.folder / "printed"
    sent: list[str] = []

    def told() -> list[tuple[str, str]]:
        assert monitor.poll() is None, printed.read_text()
        sent.append(failing.fail.delay().id)  # again and again: nothing says when the monitor listens
        return re.findall(r"^TASK FAILED: failing\.fail\[(.+?)\] (.*)$", printed.read_text(), re.MULTILINE)

    with (
        printed.open("w") as output,
        subprocess.Popen([sys.executable, "-u", "monitor.py"], stdout=output, stderr=output) as monitor,
    ):
        try:
            task_id, info = wait_for(told, interval=0.1)[0]
        finally:
            monitor.kill()  # it would watch for ever
    assert task_id in sent
    assert "'exception': 'KeyError(" in info


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
    assert entries["add every 10"]["schedule"].is_due(datetime.now().astimezone()).is_due is False
    assert set(made.app.periodic_tasks()) == set(entries)


def test_001_schedules_are_run_by_beat(
    seeds: Seeds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AMQTASK_BROKER_URL", seeds.broker)
    every_10 = "add_periodic_task(10.0,"
    text = seeds.text("001-beat")
    made = seeds.load("tasks", text.replace(every_10, "add_periodic_task(0.2,"))
    worker = seeds.work("tasks")
    with beating(made.app):
        others = [one.name for one in made.app.schedules.list() if one.name != "add every 10"]
        assert len(others) == 3
        for name in others:  # which are due in half a minute, at sunset, and on Monday
            made.app.schedules.run_now(name)
        said, texts = list[str](), ("world", "Happy Mondays!", "hello")
        wait_for(lambda: said.append(capsys.readouterr().out) or all(text in "".join(said) for text in texts))
        wait_for(lambda: worker.counts.tasks["tasks.test"] >= 4 and worker.counts.tasks["tasks.add"] == 1)
        wait_for(lambda: not worker.busy)
    assert [min("".join([*said, capsys.readouterr().out]).count(text), 2) for text in texts[:2]] == [1, 1]
    assert worker.counts.ended.keys() == {Kind.SUCCESS}


def test_001_canvas_gives_what_its_comments_say(seeds: Seeds) -> None:
    claims = with_claims(seeds.text("001-canvas"))
    assert claims.count("assert ") == 12
    tasks = seeds.load("tasks", seeds.preamble(TASKS))
    worker = seeds.work("tasks")
    flow = seeds.load("flow", f"from tasks import *\n{claims}")
    assert flow.res.get(timeout=30) == [[2 * n for n in range(start, start + 10)] for start in range(0, 100, 10)]
    wait_for(lambda: sorted(map(str, tasks.noted)) == ["4", "reset", "reset"])
    wait_for(lambda: not worker.busy)
    assert worker.counts.ended.keys() == {Kind.SUCCESS}


def test_001_map_takes_ranges(seeds: Seeds) -> None:
    tasks = seeds.load("tasks", seeds.preamble(TASKS))
    seeds.work("tasks")
    assert tasks.xsum.map([range(10), range(100)]).delay().get(timeout=30) == [45, 4950]


LIMITED = """
@app.task
def crawl_the_web(): ...

@app.task(name="myapp.mytask")
def mytask(): ...
"""


def test_001_limits_of_a_running_worker_are_changed(seeds: Seeds, caplog: pytest.LogCaptureFixture) -> None:
    node = "celery@worker1.example.com"
    tasks = seeds.load("tasks", seeds.preamble(APP) + LIMITED)
    seeds.work("tasks", name=node)
    before = (control := tasks.app.control.inspect([node], timeout=30)).limits()
    limits = seeds.load("limits", "from tasks import app\n" + seeds.text("001-limits"))
    assert "there is no option time_soft_limit; did you mean 'soft_time_limit'" in caplog.text
    assert (limits.test.options.time_limit, limits.test.options.rate_limit) == (120, parse_rate("200/m"))
    assert before == {node: {}}
    wait_for(lambda: "myapp.mytask" in control.limits()[node])
    changed = control.limits()[node]
    assert changed["tasks.crawl_the_web"] == {"time_limit": 120, "soft_time_limit": 60}
    assert changed["myapp.mytask"]["rate_limit"] == "200/m"
    asked = {"soft": 60, "hard": 120, "reply": True, "destination": [node], "timeout": 30}
    replies = tasks.app.control.time_limit("tasks.crawl_the_web", **asked)
    assert replies == [{node: {"ok": "time limits set successfully"}}]


def test_001_limits_are_settings(seeds: Seeds) -> None:
    settings, cut, _ = seeds.text("001-limits").partition("\n@app.task")
    assert cut
    conf = _settings(seeds, settings)
    assert (conf.task_soft_time_limit, conf.task_time_limit, conf.task_default_rate_limit) == (60, 120, "200/m")


def test_001_settings_of_children_are_kept(seeds: Seeds) -> None:
    conf = _settings(seeds, seeds.text("001-children"))
    assert (conf.worker_max_tasks_per_child, conf.worker_max_memory_per_child) == (10, 12000)


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
    wait_for(lambda: worker.counts.ended == {Kind.SUCCESS: 2})


def test_003_result_is_found_by_its_id(seeds: Seeds, capsys: pytest.CaptureFixture[str]) -> None:
    seeds.write("task.py", seeds.text("003-task"))
    seeds.work("task")
    handle = seeds.load("handle", seeds.text("003-handle"))
    printed = capsys.readouterr().out.strip()
    assert printed == handle.res.id
    assert find_app("task", Amqtask).AsyncResult(printed).get(timeout=30) == 6


def test_004_tasks_share_the_default_queue(seeds: Seeds) -> None:
    made = seeds.load("market", seeds.preamble(APP) + seeds.text("004-tasks"))
    seeds.work("market", "celery")
    assert made.my_taskA.delay(1, 2, 3).get(timeout=30) is None
    assert made.my_taskB.delay(1, 2).get(timeout=30) is None


def test_004_queues_and_routes_keep_tasks_apart(seeds: Seeds) -> None:
    queues = "from amqtask import Exchange, Queue\n"
    seeds.write("settings.py", queues + seeds.text("004-queues") + seeds.text("004-routes"))
    tasks = "".join(f"\n@app.task(name='my_task{x}')\ndef task_{x}():\n    return '{x}'\n" for x in "AB")
    made = seeds.load("market", seeds.preamble(APP) + "app.config_from_object('settings')\n" + tasks)
    only_a = seeds.work("market", "for_task_A")
    waiting = made.task_B.delay()
    assert made.task_A.delay().get(timeout=30) == "A"
    assert not waiting.ready()
    assert only_a.counts.received == 1
    seeds.work("market", "for_task_B")
    assert waiting.get(timeout=30) == "B"


@pytest.mark.filterwarnings(r"ignore:.*self.retry\(error\) was taken as")
def test_004_error_of_the_network_is_retried(seeds: Seeds) -> None:
    network = """
class SomeNetworkException(Exception):
    pass

def print(text):
    if "cleanup" not in text and "clenup" not in text:
        raise SomeNetworkException(text)
"""
    made = seeds.load("market", seeds.preamble(APP) + network + seeds.text("004-retry"))
    worker = seeds.work("market")
    result = made.my_task_A.delay()
    wait_for(lambda: worker.counts.ended == {Kind.RETRY: 1})
    wait_for(lambda: result.state == "RETRY")


def _settings(seeds: Seeds, text: str) -> Any:
    """What an app has as settings that is configured by a module of this text."""
    seeds.write("settings.py", text)
    return seeds.load("made", seeds.preamble(APP) + "app.config_from_object('settings')").app.conf


def test_004_results_are_ignored(seeds: Seeds) -> None:
    assert _settings(seeds, seeds.text("004-ignore")).task_ignore_result is True


def test_004_bounds_of_connections_are_taken(seeds: Seeds, caplog: pytest.LogCaptureFixture) -> None:
    conf = _settings(seeds, seeds.text("004-pool"))
    assert conf.result_backend_max_connections == conf.redis_max_connections == 60
    assert conf.broker_pool_limit == 50
    assert "CELERY_REDIS_MAX_CONNECTIONS is result_backend_max_connections" in caplog.text
    (idle,) = re.findall(r"setting (\w+) has no effect here: (.*)", caplog.text)
    assert idle == ("broker_transport_options", "RabbitMQ needs none of these (some are Redis's): max_connections")


def _watch(seeds: Seeds, monkeypatch: pytest.MonkeyPatch, last: datetime) -> None:
    """Run the watchdog over a database whose last row is from then."""
    database: Any = types.ModuleType("MySQLdb")
    rows: Callable[[], Any] = lambda: [(1, last)]
    cursor = types.SimpleNamespace(execute=lambda _: 1, fetchall=rows)
    database.connect = lambda **_: types.SimpleNamespace(cursor=lambda: cursor)
    monkeypatch.setitem(sys.modules, "MySQLdb", database)
    seeds.write("watchdog.py", seeds.text("004-watchdog"))
    runpy.run_path("watchdog.py", run_name="__main__")


def test_004_watchdog_finds_nothing_to_do(
    seeds: Seeds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _watch(seeds, monkeypatch, datetime.now())  # noqa: DTZ005 -- as the database gives it
    assert capsys.readouterr().out.endswith("not need\nend\n")


@pytest.mark.filterwarnings("ignore:Exception ignored in.*celeryworker.pid")  # the watchdog does not close it
def test_004_worker_is_restarted_by_multi_and_by_the_watchdog(seeds: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds.write("weixin.py", seeds.preamble(APP) + "import os\n\n@app.task\ndef pid():\n    return os.getpid()\n")
    seeds.write("restart.py", seeds.text("004-multi"))
    app = seeds.adopt("weixin")
    pidfile, seen = seeds.folder / "celeryworker.pid", list[int]()

    def answers() -> None:
        """Wait until a task is run by a worker that is new, and by it alone."""
        seen.append(wait_for(lambda: pidfile.exists() and {int(pidfile.read_text())}.difference(seen)).pop())
        wait_for(lambda: not any(psutil.pid_exists(one) for one in seen[:-1]))
        assert app.send_task("weixin.pid").get(timeout=30) == seen[-1]

    try:
        for _ in range(2):
            runpy.run_path("restart.py", run_name="__main__")
            answers()
        _watch(seeds, monkeypatch, datetime.now() - timedelta(hours=24))  # noqa: DTZ005 -- as the database gives it
        answers()
    finally:
        os.system(f"{sys.executable} -m amqtask multi stopwait worker --pidfile=celeryworker.pid")
    wait_for(lambda: not pidfile.exists())
    wait_for(lambda: not psutil.pid_exists(seen[-1]))
