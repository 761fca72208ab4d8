"""The app of the worker tests: each task writes a line per event to the file that CREW_RUNS names.

Imported by workers only (``-A crew``); queues come from routing.yaml in the current folder, settings from AMQTASK_*.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from pool_app import HOSTILE

from amqtask import Amqtask
from amqtask.canvas.chord import chord
from amqtask.control import inspect_command
from amqtask.errors import Ignore, PublishError, Reject
from amqtask.worker.autoscaling import Autoscaler

app = Amqtask("crew", routing="routing.yaml")
RUNS = Path(os.environ.get("CREW_RUNS", "runs"))


class Impatient(Autoscaler):
    """Takes slots away soon."""

    hold = 1.5


def record(event: str, label: str, **more: Any) -> None:
    """Append one line; a write this short is atomic on a file that is opened to append."""
    line = json.dumps({"event": event, "label": label, "at": time.time(), "pid": os.getpid(), **more}) + "\n"
    file = os.open(RUNS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@inspect_command(args=[("factor", int)], signature="[FACTOR=1]")
def crew_size(panel: Any, factor: int = 1) -> dict[str, int]:
    """How many there are."""
    return {"size": factor * 7}


def starts(label: str) -> int:
    """How often a task of this label has started, on any worker."""
    lines = RUNS.read_text().splitlines() if RUNS.exists() else []
    return sum(1 for line in map(json.loads, lines) if line["event"] == "start" and line["label"] == label)


def gate(label: str) -> bool:
    """Has the test opened the way for all tasks, or for this one?"""
    return Path("gate").exists() or Path(f"gate.{label}").exists()


@app.task(name="note")
def note(label: str) -> str:
    record("done", label)
    return f"noted {label}"


@app.task(name="anote")
async def anote(label: str) -> str:
    await asyncio.sleep(0)
    record("done", label)
    return f"noted {label}"


@app.task(name="early", acks_late=False)
def early(label: str) -> None:
    hold.run(label)


@app.task(name="hold")
def hold(label: str) -> None:
    record("start", label)
    while not gate(label):
        time.sleep(0.01)
    record("done", label)


@app.task(name="compute")
def compute(label: str) -> None:
    record("start", label)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pass


@app.task(name="ahold")
async def ahold(label: str) -> None:
    record("start", label)
    while not gate(label):  # noqa: ASYNC110 -- the event is a file of another process
        await asyncio.sleep(0.01)
    record("done", label)


@app.task(name="pause")
def pause(label: str, seconds: float) -> None:
    record("start", label)
    time.sleep(seconds)
    record("done", label)


@app.task(name="sends")
def sends(label: str) -> str:
    sent = note.delay(f"{label}.inner")
    record("done", label)
    return sent.id


@app.task(name="resends", bind=True)
def resends(self: Any, label: str) -> None:
    note.apply_async((f"{label}.inner",), queue=self.request.queue)
    record("done", label)


@app.task(name="asends")
async def asends(label: str) -> str:
    sent = await note.adelay(f"{label}.inner")
    record("done", label)
    return sent.id


@app.task(name="sends_too_much")
def sends_too_much(label: str, body: int, headers: int) -> None:
    try:
        note.apply_async(("x" * body,), headers={"x-big": "x" * headers})
    except PublishError as error:
        record("done", f"{label}: {type(error).__name__}")


@app.task(name="gather")
def gather(results: list[Any], label: str) -> list[Any]:
    record("done", label, results=results)
    return results


@app.task(name="sends_chord")
def sends_chord(label: str, size: int) -> str:
    header = [note.s(f"{label}.{number}").set(queue="work") for number in range(size)]
    return chord(header, gather.s(label).set(queue="work")).apply_async().id


@app.task(name="slow_note")
def slow_note(label: str, seconds: float) -> str:
    record("start", label)
    time.sleep(seconds)
    return f"noted {label}"


@app.task(name="fail")
def fail(label: str) -> None:
    record("start", label)
    raise ValueError(f"no luck with {label}")


@app.task(name="fail_at_once", retry=False)
def fail_at_once(label: str) -> None:
    record("start", label)
    raise ValueError(f"no luck with {label}")


@app.task(name="listed", retry=["0.1s", "0.3s"], max_retries=2)
def listed(label: str) -> None:
    record("start", label)
    raise LookupError(label)


@app.task(name="backoff", autoretry_for=(OSError,), retry_backoff=0.2, retry_jitter=True, max_retries=3)
def backoff(label: str) -> None:
    record("start", label)
    raise OSError(label)


@app.task(name="again", bind=True)
def again(self: Any, label: str, times: int, countdown: float) -> None:
    record("start", label, retries=self.request.retries)
    if self.request.retries < times:
        raise self.retry(countdown=countdown)
    record("done", label)


@app.task(name="reject")
def reject(label: str) -> None:
    record("start", label)
    raise Reject("not mine")


@app.task(name="put_back")
def put_back(label: str) -> None:
    record("start", label)
    if starts(label) < 3:
        raise Reject("later", requeue=True)
    record("done", label)


@app.task(name="ignore")
def ignore(label: str) -> None:
    record("start", label)
    raise Ignore


@app.task(name="hostile")
def hostile(which: str) -> Any:
    return HOSTILE[which]()


@app.task(name="die")
def die(label: str, how: str, times: int) -> None:
    """End the process at the first so many starts."""
    record("start", label)
    if starts(label) <= times:
        faulthandler.disable()  # its report would only clutter the log
        match how:
            case "exit":
                os._exit(1)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                ctypes.string_at(0)
    record("done", label)


if os.environ.get("CREW_KNOWS_MORE"):

    @app.task(name="news")
    def news(label: str) -> None:
        record("done", label)
