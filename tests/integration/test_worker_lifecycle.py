"""A worker's life as operators see it: restarts without a gap, pidfiles, background, health, the watchdog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from private_broker.processes import free_ports
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq

PROBE = [sys.executable, "-m", "amqtask", "check"]


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def http(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def check(*words: str, folder: Path) -> int:
    return subprocess.run([*PROBE, *words], cwd=folder, capture_output=True, timeout=60, check=False).returncode


def pid_in(file: Path) -> int:
    return int(file.read_text()) if file.exists() else 0


@pytest.fixture
def ended():
    """Processes that the test has found; ended with it, whatever happens."""
    found: list[int] = []
    yield found
    for pid in found:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def test_hup_replaces_the_worker_while_tasks_run_and_none_is_lost_or_run_twice(site):
    pidfile = site.folder / "w.pid"
    worker = site.worker("-P", "threads", "-c", "4", "-n", "w@here", "--pidfile", "w.pid")
    first = pid_in(pidfile)
    assert first == worker.pid
    site.send("hold", "long")
    site.wait_event("start", "long")
    labels = [f"n{number}" for number in range(60)]
    for number, label in enumerate(labels):
        site.send("note", label)
        if number == 20:
            worker.send_signal(signal.SIGHUP)
    wait_for(lambda: pid_in(pidfile) not in (0, first))
    successor = pid_in(pidfile)
    site.wait_done(*labels)
    site.open_gate()
    site.wait_done("long")
    assert {one.pid for one in site.events("done", "long")} == {first}
    site.send("note", "after")
    site.wait_done("after")
    assert {one.pid for one in site.events("done", "after")} == {successor}
    # the process that was started first still stands for the worker
    worker.wait_for_log("w@here stopped")
    wait_for(lambda: "stand_in" in " ".join(psutil.Process(first).cmdline()))
    assert worker.stop() == 0
    assert not pidfile.exists()
    assert set(site.labels("done").values()) == {1}


def test_a_successor_that_cannot_start_changes_nothing(site):
    worker = site.worker("-P", "threads", "-n", "w@here", "-A", "crew")
    site.send("hold", "long")
    site.wait_event("start", "long")
    (site.folder / "routing.yaml").write_text("this is no routing file")
    worker.send_signal(signal.SIGHUP)
    worker.wait_for_log("before it could take over; going on")
    site.open_gate()
    site.wait_done("long")
    assert worker.running
    assert worker.stop() == 0


def test_a_worker_under_nohup_ignores_a_hangup(site):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = site.worker("-P", "solo", "-n", "w@here")
    finally:
        signal.signal(signal.SIGHUP, previous)
    worker.send_signal(signal.SIGHUP)
    site.send("note", "a")
    site.wait_done("a")
    assert worker.count("SIGHUP") == 0
    assert worker.stop() == 0


def test_a_stop_that_comes_in_the_middle_of_a_fork_is_not_lost(site):
    """Python drops exceptions there, that of the signal's handler too."""
    (site.folder / "forked.py").write_text(
        "import os, signal\n"
        "from crew import app\n"
        "told = []\n"
        "os.register_at_fork(after_in_parent=lambda: told or told.append(os.kill(os.getpid(), signal.SIGTERM)))\n"
    )
    worker = site.worker("-A", "forked", "-P", "prefork", "-c", "1", ready=False)
    assert worker.wait() == 0
    assert worker.count("Exception ignored") == 1


def test_usr1_writes_the_stacks_of_tasks_and_children(site):
    worker = site.worker("-P", "prefork", "-c", "1", "-n", "w@here")
    site.send("hold", "a")
    site.wait_event("start", "a")
    worker.send_signal(signal.SIGUSR1)
    worker.wait_for_log("--- thread amqtask-io")
    worker.wait_for_log(r'crew.py", line \d+ in hold')
    site.open_gate()
    site.wait_done("a")
    assert worker.stop() == 0


def test_health_tells_ready_live_and_a_second_worker_is_refused(site):
    (port,) = free_ports(1)
    words = ("-P", "threads", "-n", "w@here", "--pidfile", "w.pid", "--health", f"127.0.0.1:{port}")
    worker = site.worker(*words)
    assert http(port, "/readyz")[0] == 200
    assert http(port, "/livez")[0] == 200
    assert check("ready", "--pidfile", "w.pid", folder=site.folder) == 0
    assert check("live", "--health", f":{port}", folder=site.folder) == 0
    assert site.start("worker", *words, ready=False).wait() == 73
    other = site.start("worker", "-P", "solo", "-n", "v@here", "--health", f"127.0.0.1:{port}", ready=False)
    assert other.wait() == 78
    assert "another process listens" in other.text()
    worker.stop()
    assert check("live", "--pidfile", "w.pid", folder=site.folder) == 69


def test_a_worker_without_its_broker_is_live_but_not_ready(site):
    (port,) = free_ports(1)
    worker = site.start(
        "worker", "-P", "threads", "-n", "w@here", "--health", f"127.0.0.1:{port}",
        url="amqp://guest:guest@127.0.0.1:1/", ready=False,
    )  # fmt: skip
    worker.wait_for_log("Can't consume yet")
    assert http(port, "/livez")[0] == 200
    status, text = http(port, "/readyz")
    assert status == 503
    assert "no connection to the broker" in text
    assert worker.stop() == 0


def test_a_frozen_worker_is_not_live_and_ends_itself(site):
    (port,) = free_ports(1)
    worker = site.worker(
        "-A", "faulty_worker", "-P", "threads", "-n", "w@here", "--health", f"127.0.0.1:{port}",
        "--pidfile", "w.pid", FAULT="freeze", worker_watchdog_timeout=4,
    )  # fmt: skip
    wait_for(lambda: http(port, "/livez")[0] == 503)
    assert worker.wait() == 75
    assert "in freeze" in worker.text()
    assert not (site.folder / "w.pid").exists()


def test_a_worker_that_the_broker_does_not_see_gives_back_what_it_has_and_ends(site):
    worker = site.worker(
        "-A", "faulty_worker", "-P", "threads", "-n", "w@here", FAULT="deaf",
        worker_watchdog_timeout=2, worker_watchdog_interval=0.2,
    )  # fmt: skip
    assert worker.wait() == 75
    assert "the broker sees no consumer of work; ending with 75" in worker.text()
    assert "--- thread MainThread" in worker.text()


def test_an_alarm_runs_the_command_when_nothing_gets_done(site):
    worker = site.worker(
        "-P", "threads", "-c", "1", "-n", "w@here",
        no_progress_after=1, no_progress_command='echo "$AMQTASK_ALARM" > alarm',
    )  # fmt: skip
    site.send("hold", "a")
    site.wait_event("start", "a")
    wait_for(lambda: (site.folder / "alarm").exists() and (site.folder / "alarm").read_text())
    assert "no task has ended for 1 s" in (site.folder / "alarm").read_text()
    site.open_gate()
    site.wait_done("a")
    assert worker.count("CRITICAL") == 1
    assert worker.stop() == 0


def test_a_detached_worker_serves_restarts_and_ends_as_told_by_its_pidfile(site, ended):
    pidfile, log = site.folder / "w1.pid", site.folder / "w1.log"
    words = ("-D", "-P", "threads", "-n", "w1@here", "--pidfile", "%n.pid", "-f", "%n.log")
    assert site.start("worker", *words, ready=False).wait() == 0
    first = pid_in(pidfile)
    ended.append(first)
    site.send("note", "a")
    wait_for(lambda: site.events("done", "a"))  # the process that was started here has ended
    assert site.events("done", "a")[0].pid == first
    os.kill(first, signal.SIGHUP)
    wait_for(lambda: pid_in(pidfile) not in (0, first))
    second = pid_in(pidfile)
    ended.append(second)
    wait_for(lambda: not psutil.pid_exists(first) or psutil.Process(first).status() == psutil.STATUS_ZOMBIE)
    site.send("note", "b")
    wait_for(lambda: site.events("done", "b"))
    assert site.events("done", "b")[0].pid == second
    os.kill(second, signal.SIGTERM)
    wait_for(lambda: not pidfile.exists())
    assert log.read_text().count("w1@here ready") == 2


def test_the_terminal_is_told_why_a_detached_worker_did_not_start(site):
    started = site.start("worker", "-D", "-A", "nowhere", "-n", "w1@here", "-f", "w1.log", ready=False)
    assert started.wait() == 78
    assert "no module 'nowhere'" in started.text()


def test_the_terminal_is_told_of_an_executable_that_is_not_there(site):
    started = site.start("worker", "-D", "-n", "w1@here", "-f", "w1.log", "--executable", "/no/python", ready=False)
    assert started.wait() == 78
    assert "--executable /no/python: No such file" in started.text()


def test_purge_throws_away_what_waits_first(site):
    site.worker("-P", "solo", "-n", "first@here").stop()
    site.send("note", "old")
    site.wait_ready("work", 1)
    worker = site.worker("-P", "solo", "-n", "w@here", "--purge")
    worker.wait_for_log("1 messages purged from work")
    site.send("note", "new")
    site.wait_done("new")
    assert site.labels("done") == {"new": 1}


def test_a_hangup_while_the_old_worker_drains_is_for_the_new_one_and_the_first_process_stands_for_the_last(site):
    pidfile = site.folder / "w.pid"
    worker = site.worker("-P", "threads", "-n", "w@here", "--pidfile", "w.pid")
    site.send("hold", "long")
    site.wait_event("start", "long")
    worker.send_signal(signal.SIGHUP)
    wait_for(lambda: pid_in(pidfile) not in (0, worker.pid))
    second = pid_in(pidfile)
    worker.wait_for_log(f"Process {second} has taken over")
    worker.send_signal(signal.SIGHUP)
    wait_for(lambda: pid_in(pidfile) not in (0, second))
    third = pid_in(pidfile)
    wait_for(lambda: has_ended(second))
    site.open_gate()
    wait_for(lambda: "stand_in" in " ".join(psutil.Process(worker.pid).cmdline()))
    site.send("note", "after")
    site.wait_done("after")
    assert {one.pid for one in site.events("done", "after")} == {third}
    assert worker.stop() == 0
    assert not psutil.pid_exists(third)
    assert site.labels("done") == {"long": 1, "after": 1}


def test_a_signal_that_comes_while_the_old_worker_drains_ends_the_new_one_too(site):
    worker = site.worker("-P", "threads", "-n", "w@here", "--pidfile", "w.pid")
    site.send("hold", "long")
    site.wait_event("start", "long")
    worker.send_signal(signal.SIGHUP)
    worker.wait_for_log("has taken over")
    worker.send_signal(signal.SIGTERM)
    worker.wait_for_log("SIGTERM: warm shutdown", 2)
    site.open_gate()
    assert worker.wait() == 0
    assert not worker.survivors()
    assert site.labels("done") == {"long": 1}
