"""Measuring, by the tasks themselves: one line per attempt in a file that the demo reads.

Without the environment variable FILES_RESULTS nothing is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from amqtask import Context

RESULTS = "FILES_RESULTS"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a task.

    Attributes:
        id, task, queue: which message, and where it came from.
        retries: how often it had been tried before.
        wait: seconds from sending to the start of this attempt.
        run: seconds that the attempt took.
        ok: it raised nothing.
    """

    id: str
    task: str
    queue: str
    retries: int
    wait: float
    run: float
    ok: bool


def sent_at(task_id: str) -> float:
    """When a task was sent, in seconds since the epoch: its id is a UUIDv7, which begins with the time."""
    return int(task_id.replace("-", "")[:12], 16) / 1000


@contextlib.contextmanager
def measured(request: Context) -> Iterator[None]:
    """Write down how long the task waited and ran, whatever comes of it."""
    target = os.environ.get(RESULTS)
    if target is None or request.id is None:
        yield
        return
    wait, begin, ok = time.time() - sent_at(request.id), time.perf_counter(), False
    try:
        yield
        ok = True
    finally:
        run, queue = time.perf_counter() - begin, request.queue or ""
        attempt = Attempt(request.id, request.task, queue, request.retries, max(wait, 0.0), run, ok)
        _append(target, json.dumps(asdict(attempt)) + "\n")


def _append(path: str, line: str) -> None:
    """One write in append mode: lines of several processes don't mix."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def attempts(path: Path) -> list[Attempt]:
    """Every attempt so far."""
    if not path.exists():
        return []
    whole, _, _unfinished = path.read_text().rpartition("\n")
    return [Attempt(**json.loads(line)) for line in whole.splitlines()]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below ``share`` (0 to 1) of all; 0.0 when there are none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
