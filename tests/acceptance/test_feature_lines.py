"""Every command line that tutorials use, with ``amqtask`` in place of ``celery``: one test each, run as it stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from seed_project import new_project
from waiting import wait_for

from amqtask.cli.main import main

CONFIG = """\
from amqtask import Exchange, Queue

CELERY_INCLUDE = ["proj.tasks"]
CELERY_RESULT_BACKEND = "file://FOLDER/results"
CELERY_DEFAULT_QUEUE = "default"
CELERY_QUEUES = (
    Queue("default", Exchange("default"), routing_key="default"),
    Queue("for_task_A", Exchange("for_task_A"), routing_key="for_task_A"),
    Queue("for_task_B", Exchange("for_task_B"), routing_key="for_task_B"),
)
CELERY_ROUTES = {
    "my_taskA": {"queue": "for_task_A", "routing_key": "for_task_A"},
    "my_taskB": {"queue": "for_task_B", "routing_key": "for_task_B"},
}
"""
SHORT = 30.0


@pytest.fixture(scope="module")
def project(broker_node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lines")
    with new_project(broker_node, folder, CONFIG.replace("FOLDER", str(folder))) as made:
        yield made


def help_of(command, capsys):
    """What a command says of itself; in this process, for it needs neither app nor broker."""
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


def run(project, *words, code=0):
    """Run a command to its end, and return what it wrote."""
    ended = subprocess.run(
        [sys.executable, "-m", "amqtask", *words],
        cwd=project.folder,
        env={**os.environ, **project.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


WORKERS = {
    "amqtask worker -A tasks --loglevel=info": ("worker", "-A", "proj.tasks", "--loglevel=info", "-P", "solo"),
    "amqtask -A tasks worker -l info": ("-A", "proj.tasks", "worker", "-l", "info", "-P", "solo"),
    "amqtask worker --app=worker.app --pool=prefork --concurrency=4":
        ("worker", "--app=proj.app", "--pool=prefork", "--concurrency=4"),
    "amqtask worker --app=worker.app --pool=gevent --concurrency=100":
        ("worker", "--app=proj.app", "--pool=gevent", "--concurrency=100"),
    "amqtask worker -A task -l INFO -c 10": ("worker", "-A", "proj.app.app", "-l", "INFO", "-c", "10", "-P", "threads"),
    "amqtask worker -A proj:make()": ("worker", "-A", "proj.app:make()", "-P", "solo"),
}  # fmt: skip


@pytest.mark.parametrize("line", WORKERS)
def test_worker_line_runs_tasks(project, line):
    words = WORKERS[line]
    if "--pool=gevent" in words:
        pytest.importorskip("gevent")
    worker = project.start(*words)
    pid = project.app.send_task("proj.tasks.pid").get(timeout=SHORT)
    if "--pool=prefork" in words:
        children = [one for one in psutil.Process(worker.pid).children(recursive=True) if one.pid == pid]
        assert len(children) == 1
        assert worker.count(r"concurrency +4") == 1
    else:
        assert pid == worker.pid
    if "--pool=gevent" in words:
        assert worker.count(r"concurrency +100") == 1
    assert worker.stop() == 0


def test_two_workers_consume_each_only_its_queue(project):
    line = ("worker", "-E", "-l", "INFO", "-A", "proj", "-P", "solo")
    first = project.start(*line, "-n", "workerA", "-Q", "for_task_A", ready=False)
    second = project.start(*line, "-n", "workerB", "-Q", "for_task_B", ready=False)
    first.wait_ready()
    second.wait_ready()
    for letter in "ABBA":
        assert project.app.send_task(f"my_task{letter}").get(timeout=SHORT) == letter
    for worker, own, other in ((first, "A", "B"), (second, "B", "A")):
        wait_for(lambda worker=worker, own=own: worker.count(rf"my_task{own}\[.*succeeded") == 2, SHORT)
        assert worker.count(f"worker{own}@") > 0
        assert worker.count(rf"my_task{other}\[") == 0
        assert worker.stop() == 0


def test_nohup_line_outlives_its_terminal_and_refuses_a_second_start(project):
    words = (
        "worker",
        "--loglevel=DEBUG",
        "--app=proj",
        "--queues=default",
        "--hostname=w9",
        "--pidfile=w9.pid",
        "-P",
        "solo",
    )
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
    try:
        worker = project.start(*words)
    finally:
        signal.signal(signal.SIGHUP, former)
    assert int((project.folder / "w9.pid").read_text()) == worker.pid
    worker.send_signal(signal.SIGHUP)
    assert project.app.send_task("proj.tasks.pid").get(timeout=SHORT) == worker.pid
    assert "w9.pid" in run(project, *words, code=73)
    assert worker.stop() == 0
    assert not (project.folder / "w9.pid").exists()


def test_hup_replaces_a_worker_without_a_gap(project):
    worker = project.start("worker", "-A", "proj", "-Q", "default", "--pidfile=hup.pid", "-P", "solo")
    pidfile = project.folder / "hup.pid"
    worker.send_signal(signal.SIGHUP)
    new = wait_for(lambda: _other(pidfile, worker.pid), SHORT)
    wait_for(lambda: worker.count("stopped: "), SHORT)
    assert project.app.send_task("proj.tasks.pid").get(timeout=SHORT) == new
    assert worker.stop() == 0, "the old process hands signals on, for whoever has started it"
    wait_for(lambda: not psutil.pid_exists(new), SHORT)


def test_multi_restart_line_puts_a_new_worker_in_the_place_of_the_old(project):
    files = (f"--pidfile={project.folder}/multi.pid", f"--logfile={project.folder}/multi.log")
    line = ("-A", "proj", "-P", "threads", "-c", "100", "-l", "INFO", "--without-mingle", *files)
    run(project, "multi", "start", "worker", *line)
    pidfile = project.folder / "multi.pid"
    old = int(pidfile.read_text())
    try:
        run(project, "multi", "restart", "worker", *line)
        new = wait_for(lambda: _other(pidfile, old), SHORT)
        wait_for(lambda: not psutil.pid_exists(old), SHORT)
        assert project.app.send_task("proj.tasks.pid").get(timeout=SHORT) == new
    finally:
        run(project, "multi", "stopwait", "worker", *line)
    assert not pidfile.exists()


def _other(pidfile, old):
    """The process in the file, when it is not the old one."""
    text = pidfile.read_text().strip() if pidfile.exists() else ""
    return int(text) if text and int(text) != old else 0


def test_beat_line_leads_until_it_is_stopped(project):
    beat = project.start("-A", "proj", "beat", ready=False)
    beat.wait_for_log("Leading")
    assert beat.stop() == 0


COMMANDS = "worker beat multi inspect control status events report purge call result list shell upgrade graph"


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help(command, capsys):
    assert f"Usage: amqtask {command} " in help_of(command, capsys)


def test_queue_list_shows_the_broker_s_numbers(project):
    run(project, "-A", "proj", "topology", "apply")
    run(project, "-A", "proj", "purge", "-f", "for_task_B")
    for _ in range(3):
        project.app.send_task("my_taskB")
    shown = run(project, "-A", "proj", "queue", "list")
    (line,) = [line.split() for line in shown.splitlines() if "for_task_B" in line and "INFO" not in line]
    assert "3" in line


def test_the_redis_extra_takes_a_current_client():
    from importlib.metadata import requires

    (wanted,) = [text for text in requires("amqtask") or () if text.startswith("redis") and "extra == 'redis'" in text]
    assert "<" not in wanted.partition(";")[0]
