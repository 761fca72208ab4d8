"""What a worker loads. Each worker start, and each of its children, pays for it."""

from __future__ import annotations

import subprocess
import sys

LOAD = """
import importlib, pkgutil, sys
import amqtask.worker.steps, amqtask.worker.worker
for found in pkgutil.iter_modules(amqtask.worker.steps.__path__):
    importlib.import_module(f"amqtask.worker.steps.{found.name}")
print(*[name for name in sys.modules if name.startswith("amqtask.beat")])
"""


def test_a_worker_loads_no_scheduler_before_it_is_to_run_one():
    loaded = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=60, check=True)
    assert loaded.stdout.split() == []


STARTS = """
import sys
from types import SimpleNamespace
from amqtask.worker.steps.beat import EmbeddedBeat
background = SimpleNamespace(start=lambda call, name: print("amqtask.beat.embedded" in sys.modules))
step = EmbeddedBeat(SimpleNamespace(pool=SimpleNamespace(background=background)))
step.start()
"""


def test_the_scheduler_of_a_worker_is_loaded_before_its_thread_begins():
    """A child that is forked in the midst of an import can't import that module any more."""
    told = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["True"]


IDLE = """
import os, sys
import amqtask.cli.commands.worker, amqtask.cli.daemon, amqtask.cli.log_signals, amqtask.worker.worker
from amqtask import Amqtask
from amqtask.worker.assembly import Assembly
from amqtask.worker.options import Requested, resolve
os.register_at_fork(before=lambda: forked.update(sys.modules))
forked = {}
app = Amqtask("idle", broker="amqp://127.0.0.1:1//")
app.task(name="idle.noop")(print)
assembly = Assembly(app, resolve(Requested(pool="prefork", concurrency=2), app.topology, app.settings))
print(*forked)
print(*sys.modules)
assembly.pool.terminate()
assembly.close()
"""

ONLY_THE_PARENTS = {
    "amqtask.broker.pika_driver", "amqtask.control", "amqtask.worker.chords", "amqtask.worker.custody.custody",
    "amqtask.worker.engine", "amqtask.worker.limits", "asyncio", "pika", "ssl",
}  # fmt: skip

NOBODYS = {
    "aio_pika", "amqtask.beat", "amqtask.contrib", "amqtask.results.backends", "amqtask.schedules.entry",
    "amqtask.testing", "cronsim", "email", "fractions", "http", "importlib.metadata", "sysconfig", "yaml", "zoneinfo",
}  # fmt: skip


def test_an_idle_worker_holds_nothing_that_it_has_no_use_for():
    """What is there before the fork exists once for the children, and once more for the parent as far as it is used."""
    told = subprocess.run([sys.executable, "-c", IDLE], capture_output=True, text=True, timeout=60, check=True)
    before, after = (set(line.split()) for line in told.stdout.splitlines())
    assert before & (ONLY_THE_PARENTS | NOBODYS) == set()
    assert after & NOBODYS == set()
    assert after >= ONLY_THE_PARENTS, "a name here has changed"
