"""`amqtask worker` and `amqtask up` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec

from command_line import ROUTING
from waiting import wait_for

POOLS = """\
pools:
  mail: {queues: [emails], pool: threads, concurrency: 2}
  files: {queues: [files.small], pool: solo}
"""

TASKS = """\
from amqtask import Amqtask

app = Amqtask("shop", routing="routing.yaml")


@app.task(name="shop.mail.write")
def write(name):
    open(name, "x").close()


@app.task(name="shop.small")
def small(name):
    open(name, "x").close()
"""


TELLS = """\
import os, socket

    with open(name + ".part", "x") as file:
        file.write(socket.socket.__module__)
    os.rename(name + ".part", name)\
"""


@contextmanager
def running(shell, *words, **environment):
    """A command in the background; ended with the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "amqtask", *words],
        cwd=shell.folder,
        env={**os.environ, "AMQTASK_BROKER_URL": shell.url, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def prepare(shell) -> None:
    (shell.folder / "routing.yaml").write_text(ROUTING + POOLS)
    (shell.folder / "jobs.py").write_text(TASKS)


def test_up_runs_every_pool_until_it_is_told_to_stop(shell):
    """One of them is of gevent, which has to patch in time, and in no other one whatever the variable says."""
    kind, patched = ("gevent", "gevent._socket3") if find_spec("gevent") else ("threads", "socket")
    prepare(shell)
    file = shell.folder / "routing.yaml"
    schedule = "schedule: {nightly: {task: shop.small, cron: '@daily'}}\n"
    file.write_text(file.read_text().replace("pool: threads", f"pool: {kind}") + schedule)
    (shell.folder / "jobs.py").write_text(TASKS.replace('open(name, "x").close()', TELLS))
    with running(shell, "up", "-A", "jobs", AMQTASK_WORKER_POOL=kind) as up:
        shell.run("call", "shop.mail.write", "-a", '["a"]')
        shell.run("call", "shop.small", "-a", '["b"]')
        wait_for(lambda: (shell.folder / "a").exists() and (shell.folder / "b").exists(), timeout=30)
        up.send_signal(signal.SIGTERM)
        output, _ = up.communicate(timeout=30)
    assert up.returncode == 0, output
    assert "mail  | " in output
    assert "files | " in output
    assert [(shell.folder / name).read_text() for name in ("a", "b")] == [patched, "socket"]
    assert "gevent has not patched" not in output
    assert "this runs no scheduler; to have the periodic tasks sent: amqtask beat -A jobs" in output
    assert "Traceback" not in output


def test_up_ends_with_78_when_a_pool_cannot_run(shell):
    prepare(shell)
    shell.run("topology", "apply")
    file = shell.folder / "routing.yaml"
    file.write_text(file.read_text().replace("  files.small: {", "  files.small: {max_length: 5, "))
    with running(shell, "up", "-A", "jobs") as up:
        output, _ = up.communicate(timeout=60)
    assert up.returncode == 78, output
    assert "x-max-length" in output


def test_a_worker_serves_only_the_queues_it_was_given(shell):
    prepare(shell)
    with running(shell, "-A", "jobs", "worker", "-Q", "files.small", "-P", "solo", "--log-format", "json") as worker:
        shell.run("call", "shop.mail.write", "-a", '["a"]')
        shell.run("call", "shop.small", "-a", '["b"]')
        wait_for((shell.folder / "b").exists, timeout=30)
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines()]
    events = [line["event"] for line in lines if line.get("task") == "shop.small"]
    assert events == ["task-received", "task-succeeded"]
    assert shell.queues()["emails"]["ready"] == 1


def test_a_worker_whose_queue_exists_with_other_arguments_ends_with_78(shell):
    prepare(shell)
    shell.run("topology", "apply")
    file = shell.folder / "routing.yaml"
    file.write_text(file.read_text().replace("  files.small: {", "  files.small: {max_length: 5, "))
    ended = shell.run("worker", "-A", "jobs", "-q", code=78)
    assert "Error: queue 'files.small' exists with other arguments" in ended.stderr
