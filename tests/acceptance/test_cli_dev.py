"""`amqtask dev`: broker, workers and reload, in a terminal and in the one beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

ROUTING = """\
version: 1
queues: {mail: {}, files: {}}
routes:
  - {task: shop.store, queue: files}
  - {task: "*", queue: mail}
"""

POOLS = """\
pools:
  mail: {queues: [mail], pool: threads, concurrency: 2}
  files: {queues: [files], pool: solo}
"""

TASKS = """\
import time
from amqtask import Amqtask

app = Amqtask("shop", routing="routing.yaml")


@app.task(name="shop.hello")
def hello(name):
    return f"hello {name}"


@app.task(name="shop.store")
def store(name):
    return f"stored {name}"


@app.task(name="shop.slow")
def slow(gate):
    open(gate + ".began", "w").close()
    while not __import__("os").path.exists(gate):
        time.sleep(0.01)
    return "slow is done"
"""

READY = r" ready, consuming "


@pytest.fixture
def shop(terminal):
    """A terminal in a folder with an app of two pools."""
    (terminal.folder / "routing.yaml").write_text(ROUTING + POOLS)
    (terminal.folder / "tasks.py").write_text(TASKS)
    return terminal


def start(shop, *words: str, workers: int = 2) -> None:
    """Start ``amqtask dev`` on a free port; what follows in the same terminal finds its broker."""
    shop.start("dev", "-A", "tasks", "--port", "0", *words)
    shop.wait_for(READY, workers)
    (url,) = re.findall(r"in another terminal: export AMQTASK_BROKER_URL=(\S+)", shop.err)
    (control,) = re.findall(r"--control (\S+)", shop.err)
    shop.environment |= {"AMQTASK_BROKER_URL": url, "AMQTASK_DEV_BROKER_CONTROL": control}


def call(shop, name: str, *arguments: str) -> None:
    shop.run("call", name, "-a", json.dumps(arguments))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_broker_and_all_pools_run_in_one_terminal_until_ctrl_c(shop):
    start(shop, "--no-reload")
    call(shop, "shop.hello", "ada")
    call(shop, "shop.store", "letter")
    shop.wait_for("hello ada")
    shop.wait_for("stored letter")
    assert shop.stop() == 0
    assert re.search(r"^broker \| amqp://guest:guest@127.0.0.1:\d+/  \(development only", shop.err, re.MULTILINE)
    assert re.search(r"^mail   \| .* succeeded in .*'hello ada'$", shop.err, re.MULTILINE)
    assert re.search(r"^files  \| .* succeeded in .*'stored letter'$", shop.err, re.MULTILINE)
    assert "Traceback" not in shop.err
    assert "ended (" not in shop.err
    assert "scheduler" not in shop.err


def test_one_worker_serves_all_queues_where_there_are_no_pools_and_it_is_told_that_nothing_sends_periodic_tasks(shop):
    (shop.folder / "routing.yaml").write_text(ROUTING)
    edit(
        shop.folder / "tasks.py",
        '@app.task(name="shop.hello")',
        '@app.periodic(every="1h")\n@app.task(name="shop.hello")',
    )
    shop.environment["AMQTASK_WORKER_POOL"] = "solo"
    start(shop, "--no-reload", workers=1)
    call(shop, "shop.hello", "ada")
    call(shop, "shop.store", "letter")
    shop.wait_for("worker | .*hello ada")
    shop.wait_for("worker | .*stored letter")
    assert "this runs no scheduler; to have the periodic tasks sent: amqtask beat -A tasks" in shop.err
    assert shop.stop(signal.SIGTERM) == 0


def test_a_changed_file_restarts_the_workers_and_queued_messages_stay(shop):
    start(shop)
    for number in range(3):
        shop.run("call", "shop.hello", "-a", f'["{number}"]', "--countdown", "2")
    changed(shop, "tasks.py", 'f"hello {name}"', 'f"hallo {name}"')
    shop.wait_for(READY, 4)
    call(shop, "shop.hello", "grace")
    shop.wait_for("hallo grace")
    for number in range(3):
        shop.wait_for(f"'h[ae]llo {number}'")
    assert shop.err.count("in another terminal") == 1
    assert shop.stop() == 0


def changed(shop, name: str, old: str, new: str) -> None:
    """Change a file until it is noticed: the watcher may not look yet."""
    edit(shop.folder / name, old, new)
    before = shop.err.count("changed: ")

    def noticed() -> bool:
        if shop.err.count("changed: ") > before:
            return True
        os.utime(shop.folder / name)
        return False

    wait_for(noticed, timeout=30, interval=0.5)


def test_a_file_that_does_not_load_is_told_once_and_the_workers_go_on(shop):
    start(shop)
    changed(shop, "tasks.py", "import time", "import time\n(")
    shop.wait_for("waiting for the next change")
    assert re.search(r"dev    \| Error: loading 'tasks' failed: SyntaxError", shop.err)
    call(shop, "shop.hello", "ada")
    shop.wait_for("hello ada")
    changed(shop, "tasks.py", "import time\n(", "import time")
    shop.wait_for(READY, 4)
    assert "Traceback" not in shop.err
    assert shop.stop() == 0


def test_pools_of_the_routing_file_come_and_go(shop):
    start(shop)
    changed(shop, "routing.yaml", "  files: {queues: [files]", "  archive: {queues: [files]")
    shop.wait_for("archive@.* ready, consuming files")
    call(shop, "shop.store", "letter")
    shop.wait_for("archive .*stored letter")
    assert len(re.findall(r"^files  \| .* ready", shop.err, re.MULTILINE)) == 1
    assert shop.stop() == 0


def test_a_task_that_runs_at_a_reload_may_end_first(shop, tmp_path):
    start(shop, "--shutdown-timeout", "60")
    gate = tmp_path / "gate"
    call(shop, "shop.slow", str(gate))
    wait_for(gate.with_name("gate.began").exists)
    changed(shop, "tasks.py", "hello", "hallo")
    shop.wait_for("mail.*warm shutdown")
    gate.touch()
    shop.wait_for("slow is done")
    shop.wait_for("mail.* ready, consuming", 2)
    assert shop.err.count("slow is done") == 1
    assert shop.stop() == 0


def test_the_end_of_the_broker_is_the_end_of_everything_and_told(shop):
    start(shop, "--no-reload")
    process = shop.background[-1]
    (broker,) = [pid for pid in children(process.pid) if b"amqtask.testing.devbroker" in command_line(pid)]
    os.kill(broker, signal.SIGKILL)
    assert process.wait(30) == 69
    assert "dev    | the dev broker has ended" in shop.err


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_nothing_is_left_when_it_is_killed(shop):
    start(shop)
    process = shop.background[-1]
    family = children(process.pid)
    assert len(family) == 4, [command_line(pid) for pid in family]
    process.kill()
    wait_for(lambda: not any(running(pid) for pid in family), timeout=20)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_broker_that_is_configured_is_used(shop, tmp_path):
    url = shop.broker()
    shop.environment["AMQTASK_BROKER_URL"] = url
    shop.start("dev", "-A", "tasks", "--no-reload")
    shop.wait_for(READY, 2)
    assert "broker | " not in shop.err
    call(shop, "shop.hello", "ada")
    shop.wait_for("hello ada")
    assert shop.stop() == 0
    err = shop.run("dev", "-A", "tasks", "--trace", code=64).stderr
    assert "--port and --trace are for the dev broker; AMQTASK_BROKER_URL names another one" in err


def test_a_trace_of_the_broker_has_its_prefix(shop):
    start(shop, "--no-reload", "--trace")
    shop.wait_for(r"broker \| .*basic.consume")
    assert shop.stop() == 0


def test_a_vhost_and_a_broker_url_in_code_are_told_as_they_have_to_be_used(shop):
    edit(shop.folder / "tasks.py", 'Amqtask("shop",', 'Amqtask("shop", broker="dev:///shop",')
    shop.start("dev", "-A", "tasks", "--no-reload", "--port", "0")
    shop.wait_for(READY, 2)
    (url,) = re.findall(r"in another terminal: export AMQTASK_DEV_BROKER_URL=(\S+)", shop.err)
    assert url.endswith("/shop")
    shop.environment["AMQTASK_DEV_BROKER_URL"] = url
    shop.run("call", "-A", "tasks", "shop.hello", "-a", '["grace"]')
    shop.wait_for("hello grace")
    assert shop.stop() == 0


def test_without_watchfiles_it_says_how_to_get_reload(shop):
    (shop.folder / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'watchfiles' else find(name, *more)\n"
    )
    shop.environment["PYTHONPATH"] = str(shop.folder)
    start(shop)
    assert "dev    | reload is off; to have it: pip install 'amqtask[reload]'" in shop.err
    assert shop.stop() == 0


def test_an_app_that_does_not_load_at_the_start_is_exit_78(shop):
    edit(shop.folder / "tasks.py", "import time", "import tme")
    assert "No module named 'tme'" in shop.run("dev", "-A", "tasks", code=78).stderr


def test_a_worker_ends_when_its_dev_broker_has_died(shop, tmp_path):
    """With one clear error, and not before what runs has ended."""
    code = "from amqtask.app import dev; import sys; print(dev.start().url, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        shop.environment |= {"AMQTASK_BROKER_URL": "dev://", "AMQTASK_DEV_BROKER_URL": owner.stdout.readline().strip()}
        shop.start("worker", "-A", "tasks", "-P", "threads")
        shop.wait_for(READY)
        gate = tmp_path / "gate"
        call(shop, "shop.slow", str(gate))
        wait_for(gate.with_name("gate.began").exists)
    gate.touch()
    assert shop.background[-1].wait(30) == 69
    told = re.findall("^Error: the dev broker at .* has ended, and everything it held is gone", shop.err, re.MULTILINE)
    assert len(told) == 1
