"""``amqtask beat`` and ``amqtask schedule`` as users run them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq

APP = """\
from amqtask import Amqtask

app = Amqtask("shop", routing="routing.yaml", timezone="Europe/Berlin")


@app.periodic(every="1h")
@app.task(name="shop.refresh")
def refresh(what="all"):
    pass


@app.on_after_configure.connect
def more(sender, **_):
    sender.add_periodic_task(7200, refresh.s("some"), name="some", expires=60)
"""
ROUTING = """\
queues: {work: {type: classic}}
routes: [{task: "*", queue: work}]
schedule:
  report: {task: shop.report, cron: "30 7 * * mon-fri"}
"""


@pytest.fixture
def site(shell):
    (shell.folder / "shop.py").write_text(APP)
    (shell.folder / "routing.yaml").write_text(ROUTING)
    return shell


def test_runs_are_printed_with_their_zones_and_changes_are_kept_while_no_scheduler_runs(site):
    site.run("-A", "shop", "schedule", "add", "night", "shop.refresh", "--cron", "@daily", "-a", '["night"]')
    site.run("-A", "shop", "schedule", "add", "often", "shop.refresh", "--every", "30", "--expires", "20")
    site.run("-A", "shop", "schedule", "pause", "some")
    site.run("-A", "shop", "schedule", "pause", "sume", code=64)
    listed = site.run("-A", "shop", "schedule", "list").stdout
    assert "30 7 * * 1,2,3,4,5 Europe/Berlin" in listed
    found = {one["name"]: one for one in site.json("-A", "shop", "schedule", "list")}
    assert set(found) == {"shop.refresh", "some", "report", "night", "often"}
    assert found["often"]["options"] == {"expires": 20.0}
    assert (found["night"]["args"], found["night"]["added"], found["some"]["paused"]) == (["night"], True, True)
    runs = site.run("schedule", "next", "report", "-n", "3", "-A", "shop").stdout.splitlines()
    assert len(runs) == 4
    assert all(" 07:30:00+0" in run for run in runs[1:])


def test_the_scheduler_runs_in_a_process_and_ends_when_it_is_told(site):
    command = [sys.executable, "-m", "amqtask", "-A", "shop", "beat", "-s", "beat.db", "--pidfile", "beat.pid"]
    environment = {**os.environ, "AMQTASK_BROKER_URL": site.url}
    with (
        (site.folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=site.folder, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(lambda: "Leading" in (site.folder / "log").read_text(), 30)
            assert (site.folder / "beat.pid").read_text().strip() == str(process.pid)
            process.send_signal(signal.SIGUSR2)
            process.send_signal(signal.SIGUSR1)
            wait_for(lambda: "thread amqtask-beat" in (site.folder / "log").read_text(), 30)
            process.send_signal(signal.SIGQUIT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert not (site.folder / "beat.pid").exists()
    with closing(sqlite3.connect(site.folder / "beat.db")) as file:
        ((document,),) = file.execute("SELECT document FROM state").fetchall()
    assert "shop.refresh" in document


def test_a_scheduler_whose_loop_hangs_is_ended_to_be_started_again(site):
    hang = """
import threading
from amqtask.schedules.interval import schedule


class Hangs(schedule):
    def next(self, after):
        if threading.current_thread().name == "amqtask-beat":
            threading.Event().wait()
        return super().next(after)


app.add_periodic_task(Hangs(60), refresh.s(), name="hangs")
"""
    (site.folder / "shop.py").write_text(APP + hang)
    command = [sys.executable, "-m", "amqtask", "-A", "shop", "beat", "--pidfile", "beat.pid"]
    environment = {**os.environ, "AMQTASK_BROKER_URL": site.url, "AMQTASK_WORKER_WATCHDOG_TIMEOUT": "3"}
    ended = subprocess.run(
        command, cwd=site.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 75, ended.stderr
    assert "the I/O loop does not turn any more" in ended.stderr
    assert "in next" in ended.stderr
    assert not (site.folder / "beat.pid").exists()


def test_a_wrong_entry_is_an_error_at_the_start_with_its_line(site):
    (site.folder / "routing.yaml").write_text(ROUTING.replace("mon-fri", "mon-fry"))
    error = site.run("-A", "shop", "beat", code=78).stderr
    assert "routing.yaml:4:3: periodic task 'report': day_of_week: 'fry' is not a number" in error
    started = site.run("-A", "shop", "worker", "-B", "-P", "solo", code=78)
    assert "'fry' is not a number" in started.stderr
    assert "shop.refresh" not in started.stdout  # no banner: it has never been up


def test_a_worker_whose_scheduler_can_not_begin_ends(site):
    started = site.run("-A", "shop", "worker", "-B", "-P", "solo", "--scheduler", "shop:Database", code=78)
    assert "there is no scheduler 'shop:Database'" in started.stderr
