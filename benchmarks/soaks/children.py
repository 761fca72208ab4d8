"""Children that are replaced all the time, and killed and stopped at random: no task may be lost, none may be stuck."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from soaks.soak_app import mark_child
from soaks.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.node import Node

_CHILDREN = 8
_SHARE = 10
"""Tasks of one child."""

_EVERY = 0.25
"""Seconds between two acts of violence; one in five is a stop, the others kill."""

_STUCK = 120.0
"""Seconds without any progress."""


def children(node: Node, folder: Path, tasks: int = 100_000, seed: int = 1) -> dict[str, float]:
    """Run tasks of up to 5 ms in eight children of ten tasks each, while a child is killed or stopped every 250 ms.

    Returns:
        ``lost``, ``stuck`` and ``dead`` tasks, how many ran again, and how many children there were.
    """
    dice = random.Random(seed)
    process = worker("-c", str(_CHILDREN), "--max-tasks-per-child", str(_SHARE), log=folder / "log")
    done: Counter[str] = Counter()
    acts: Counter[int] = Counter()
    try:
        for start in range(0, tasks, 1000):
            mark_child.delay_many([(number, dice.uniform(0.0, 0.005)) for number in range(start, start + 1000)])
            while node.depth("amqtask") > 5000:
                _strike(process.pid, dice, acts)
        moved = time.monotonic()
        while len(done) < tasks and time.monotonic() - moved < _STUCK:
            _strike(process.pid, dice, acts)
            before, done = len(done), Counter(number for number, _ in _lines())
            if len(done) > before:
                moved = time.monotonic()
        dead = node.depth("amqtask.dead")
        return {
            "tasks": float(tasks),
            "lost": float(tasks - len(done) - dead),
            "dead": float(dead),
            "again": float(done.total() - len(done)),
            "children": float(len({pid for _, pid in _lines()})),
            "kills": float(acts[signal.SIGKILL]),
            "stops": float(acts[signal.SIGSTOP]),
            "left_in_queue": float(node.depth("amqtask")),
        }
    finally:
        process.terminate()
        process.wait(60)


def _strike(worker_pid: int, dice: random.Random, acts: Counter[int]) -> None:
    """Kill or stop one of the children of the fork server, and wait a moment."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [child for server in psutil.Process(worker_pid).children() for child in server.children()]
        if family:
            act = signal.SIGSTOP if dice.random() < 0.2 else signal.SIGKILL
            dice.choice(family).send_signal(act)
            acts[act] += 1
    time.sleep(_EVERY)


def _lines() -> Iterator[tuple[str, str]]:
    """Number and process of every task that has run."""
    for line in Path(os.environ["SOAK_MARKS"]).read_text().splitlines():
        number, pid = line.split()
        yield number, pid
