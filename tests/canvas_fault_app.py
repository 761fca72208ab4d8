"""The app of the canvas fault tests: its tasks are those of random trees, and write a line whenever they run.

Workers import it (``-A canvas_fault_app``); CANVAS_TREES names the trees, CREW_RUNS the file. Some tasks are tried
again once, by a rule that knows only their id, so that each attempt decides the same, wherever it runs.
"""

from __future__ import annotations

import json
import os
import random
import time
from hashlib import sha256
from typing import Any

from canvas_draw import Draw
from canvas_trees import Evaluation, Register, build, compute, plain

from amqtask import Amqtask

SLOW = 0.005
"""Seconds that each task takes, so that faults find some running."""

app = Amqtask("faults", routing="routing.yaml")


def drawn(seed: int, failures: float) -> Any:
    """The tree of a seed; its tasks carry the seed in their names."""
    rng = random.Random(seed)
    return Draw(rng, failures, f"s{seed}.").tree(rng.randint(2, 4))


def record(task: str, task_id: str, args: Any, retries: int = 0, *, again: bool = False, **more: Any) -> None:
    """Append one line; a write this short is atomic on a file that is opened to append."""
    line = {"task": task, "id": task_id, "args": repr(plain(args)), "retries": retries, "again": again, **more}
    file = os.open(os.environ["CREW_RUNS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def tried_again(task_id: str) -> bool:
    return sha256(task_id.encode()).digest()[0] < 40


def define(node: Any) -> None:
    @app.task(name=node.name, bind=True, retry=False)
    def run(self: Any, *args: Any) -> Any:
        request = self.request
        record(node.name, request.id, args, request.retries, again=request.redelivered)
        time.sleep(SLOW)
        if request.retries == 0 and tried_again(request.id):
            raise self.retry(countdown=0.02, max_retries=1)
        if node.fails:
            raise ValueError(node.name)
        if node.becomes is not None:
            self.replace(build(node.becomes, Register()))
        return compute(node.name, list(args))


def define_errback(name: str) -> None:
    """Every tenth takes the exception itself, and so is mostly called in the process of the task that failed."""
    if name.endswith("0"):

        @app.task(name=name, retry=False)
        def told(failed: Any, error: Any = None, traceback: Any = None) -> None:
            record(name, str(failed) if error is None else failed.id, ())

    else:

        @app.task(name=name, retry=False)
        def asked(found: Any) -> None:  # the id of the task that failed, or what the errback before it returned
            record(name, str(found), ())


for _seed, _failures in json.loads(os.environ.get("CANVAS_TREES", "[]")):
    register = Register()
    build(drawn(_seed, _failures), register)
    for _node in register.tasks.values():
        define(_node)
    for _name in register.errbacks:
        define_errback(_name)


def expected(seed: int, failures: float) -> Evaluation:
    return Evaluation(drawn(seed, failures))


@app.task(name="one", bind=True)
def one(self: Any, number: int, seconds: float = 0.0) -> int:
    record("one", self.request.id, (number,), again=self.request.redelivered)
    time.sleep(seconds)
    return number


@app.task(name="total", bind=True)
def total(self: Any, numbers: list[int], label: str = "") -> int:
    record("total", self.request.id, (label, sum(numbers)), again=self.request.redelivered)
    return sum(numbers)


@app.task(name="told")
def told_of(task_id: str) -> None:
    record("told", task_id, ())
