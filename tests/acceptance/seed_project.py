"""A project as tutorials lay it out: a package with app, configuration module and tasks, under their old names.

with new_project(node, folder) as project:
    worker = project.start("worker", "-A", "proj", "-l", "info")
    project.app.send_task("proj.tasks.pid").get(timeout=20)
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from uuid import uuid4

from worker_process import WorkerProcess

from amqtask import Amqtask
from amqtask.app.dead import DeadLetters, DeadMessage
from amqtask.broker.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node

APP = """\
from amqtask import Amqtask

app = Amqtask("proj")
app.config_from_object("proj.config")


def make():
    return app
"""

TASKS = """\
import os
import time

from proj.app import app


@app.task
def pid():
    return os.getpid()


@app.task
def sleepy(seconds):
    time.sleep(seconds)
    return "slept"


@app.task
def quiet():
    return "said nothing"


@app.task(name="my_taskA")
def my_task_a():
    return "A"


@app.task(name="my_taskB")
def my_task_b():
    return "B"
"""


class Project:
    """A folder with the package ``proj``, and a broker."""

    def __init__(self, folder: Path, url: str, config: str) -> None:
        self.folder, self.url = folder, url
        self._started: list[WorkerProcess] = []
        package = folder / "proj"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "app.py").write_text(APP)
        (package / "tasks.py").write_text(TASKS)
        self.config = f"BROKER_URL = {url!r}\n{config}"
        (package / "config.py").write_text(self.config)
        module = ModuleType("config")
        exec(compile(self.config, str(package / "config.py"), "exec"), module.__dict__)
        self.app = Amqtask("sender", config_source=module)

    @property
    def environment(self) -> dict[str, str]:
        """For commands; names no app and no broker."""
        return {"PYTHONPATH": str(self.folder)}

    def start(self, *words: str, ready: bool = True) -> WorkerProcess:
        """Start ``python -m amqtask`` with these words; returns when it consumes, unless told otherwise."""
        log = self.folder / f"process-{len(self._started)}.log"
        worker = WorkerProcess(words, self.folder, log, {**os.environ, **self.environment})
        self._started.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    def dead(self, queue: str) -> list[DeadMessage]:
        """The dead letters of a queue."""
        with Admin(self.app.broker_urls, self.app.connection_options) as admin:
            return list(DeadLetters(admin, queue).read())

    def close(self) -> None:
        """End everything."""
        for worker in self._started:
            worker.close()
        self.app.close()


@contextmanager
def new_project(node: Node, folder: Path, config: str) -> Iterator[Project]:
    """A project on a vhost of its own.

    Args:
        node: the broker.
        folder: empty.
        config: of the configuration module, without the broker's address.
    """
    vhost = f"test-{uuid4().hex[:12]}"
    project = Project(folder, node.add_vhost(vhost), config)
    try:
        yield project
    finally:
        project.close()
        node.delete_vhost(vhost)
