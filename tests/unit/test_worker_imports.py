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
step = EmbeddedBeat(SimpleNamespace(pool=None))
step._errands = SimpleNamespace(start=lambda call, name: print("amqtask.beat.embedded" in sys.modules))
step.start()
"""


def test_the_scheduler_of_a_worker_is_loaded_before_its_thread_begins():
    """A child that is forked in the midst of an import can't import that module any more."""
    told = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["True"]
