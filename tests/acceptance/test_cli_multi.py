"""``amqtask multi`` as an operator uses it: start, restart, stop; and both orders of words for a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq

OPTIONS = ("-A", "shop", "-P", "solo", "-l", "INFO", "--without-mingle", "-n", "here")


@pytest.fixture
def multi(shell):
    yield lambda *words, code=0: shell.run("multi", *words, code=code)
    shell.run("multi", "kill", "w1", "w2", "-n", "here")


def pid(shell, name: str) -> int:
    return int((shell.folder / f"{name}.pid").read_text())


def ended(number: int) -> bool:
    return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_nodes_start_restart_and_stop_by_name(shell, multi):
    started = multi("start", "w1", "w2", "-Q:w2", "files.small", *OPTIONS).stdout
    assert "w1@here: OK" in started
    assert "w2@here: OK" in started
    first, other = pid(shell, "w1"), pid(shell, "w2")
    log = shell.folder / "w2.log"
    wait_for(lambda: "w2@here ready, consuming files.small" in log.read_text(), 30)

    again = multi("start", "w1", *OPTIONS, code=73)
    assert f"process {first} is running already" in again.stderr

    restarted = multi("restart", "w1", *OPTIONS).stdout
    assert f"w1@here: SIGTERM -> {first}" in restarted
    assert ended(first)
    second = pid(shell, "w1")
    assert second not in (first, other)
    assert not ended(second)

    stopped = multi("stopwait", "w1", "w2", "w3", "-n", "here").stdout
    assert "w3@here: DOWN" in stopped
    assert ended(second)
    assert ended(other)
    assert not list(shell.folder.glob("*.pid"))


def test_what_would_be_run_is_shown_without_running_it(shell):
    shown = shell.run("multi", "show", "2", "-c:1", "3", *OPTIONS).stdout.splitlines()
    assert len(shown) == 2
    assert "worker --detach -n amqtask1@here" in shown[0]
    assert "--concurrency=3" in shown[0]
    assert "--concurrency" not in shown[1]
    assert shell.run("multi", "names", "a", "b", "-n", "h").stdout == "a@h\nb@h\n"
    assert shell.run("multi", "expand", "/run/%n.pid", "a", "-n", "h").stdout == "/run/a.pid\n"
    assert "did you mean 'start'" in shell.run("multi", "strat", "a", code=64).stderr


@pytest.mark.parametrize("words", [("-A", "shop", "worker"), ("worker", "--app=shop")])
def test_a_worker_starts_with_its_words_in_any_order(shell, words):
    with subprocess.Popen(
        [sys.executable, "-m", "amqtask", *words, "--pool=solo", "--loglevel=DEBUG", "--pidfile", "w.pid"],
        cwd=shell.folder,
        env={**os.environ, "AMQTASK_BROKER_URL": shell.url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stderr is not None
        try:
            for line in worker.stderr:
                if " ready, consuming " in line:
                    break
            else:
                pytest.fail("it ended before it was ready")
            assert pid(shell, "w") == worker.pid
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=30)
    assert worker.returncode == 0
