"""An app whose tasks compose well, for tests that run canvas through a real worker. A module, so workers import it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from amqtask import Amqtask, Queue, group

app = Amqtask(
    "canvas",
    broker=os.environ.get("CANVAS_BROKER", "amqp://guest:guest@localhost:5672/"),
    backend=os.environ.get("CANVAS_BACKEND", "rpc://"),
    task_queues=[Queue("canvas", type="classic")],
    task_default_queue="canvas",
)


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def xsum(numbers):
    return sum(numbers)


@app.task
def identity(value):
    return value


@app.task(retry=False)
def fail(*_args):
    raise ValueError("no luck", 3)


@app.task(bind=True, retry=[0.05])
def second_time(self, value):
    if self.request.retries == 0:
        raise RuntimeError("not yet")
    return value


@app.task
def note(path, *values):
    """Leave a trace."""
    with Path(path).open("a") as file:
        file.write(f"{values!r}\n")
    return values


@app.task(retry=False)
def needs(value, path):
    if not Path(path).exists():
        raise ValueError("not there")
    return value


@app.task
def note_error(task_id, path):
    with Path(path).open("a") as file:
        file.write(f"{task_id}\n")


@app.task
def note_exception(request, error, traceback, path):
    with Path(path).open("a") as file:
        file.write(f"{request.id} {error!r} {'ValueError' in (traceback or '')}\n")


@app.task(bind=True)
def progress(self, steps):
    for step in range(steps):
        self.update_state("PROGRESS", {"done": step})
    return steps


@app.task(bind=True)
def replaced(self, value):
    self.replace(add.s(value, 100))


@app.task(bind=True)
def replaced_by_group(self, values):
    self.replace(group(add.s(value, 1) for value in values))


@app.task(bind=True)
def one_more(self, value):
    self.add_to_chord(add.s(value, 1000))
    return value


@app.task(bind=True, retry=[0.05])
def adds_twice(self, value):
    """Other work in each attempt."""
    self.add_to_chord(identity.s(value + self.request.retries))
    if self.request.retries == 0:
        raise RuntimeError("not yet")
    return value


@app.task
def set_of(value):
    return object()


@app.task
def large(size):
    return "x" * size


@app.task
def waits(task_id):
    return app.AsyncResult(task_id).get(timeout=1)


@app.task
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task
async def aadd(x, y):
    return x + y


@app.task(ignore_result=True)
def unheard():
    return 1
