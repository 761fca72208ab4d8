"""SIGTERM under load, at random moments: nothing may be lost, and the end must come in time."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from soaks.soak_app import mark
from soaks.workers import marks, worker

if TYPE_CHECKING:
    from pathlib import Path

    from harness.node import Node

_GRACE = 3.0
_PER_LIFE = 400


def sigterm(node: Node, folder: Path, lives: int = 200, seed: int = 1) -> dict[str, float]:
    """Start a worker, give it tasks of up to 50 ms, end it at a random moment; over and over, on one queue.

    Returns:
        ``lost`` and ``twice``, counted by the tasks themselves, and the longest time from signal to exit.
    """
    dice = random.Random(seed)
    sent = 0
    slowest = 0.0
    for _ in range(lives):
        mark.delay_many([(sent + number, dice.uniform(0.0, 0.05)) for number in range(_PER_LIFE // 10)])
        mark.delay_many([(sent + number, 0.0) for number in range(_PER_LIFE // 10, _PER_LIFE)])
        sent += _PER_LIFE
        process = worker("-c", "2", "--shutdown-timeout", str(_GRACE), log=folder / "log")
        time.sleep(dice.uniform(0.2, 1.5))
        signalled = time.monotonic()
        process.terminate()
        process.wait(30)
        slowest = max(slowest, time.monotonic() - signalled)
    process = worker("-c", "2", log=folder / "log")
    try:
        _await_all(sent)
    finally:
        process.terminate()
        process.wait(30)
    done = marks()
    return {
        "lives": float(lives),
        "tasks": float(sent),
        "lost": float(sent - len(set(done))),
        "twice": float(len(done) - len(set(done))),
        "slowest_exit_seconds": slowest,
        "left_in_queue": float(node.depth("amqtask")),
    }


def _await_all(sent: int, patience: float = 30.0) -> None:
    """Wait until every task has left its mark, or none has for so many seconds."""
    seen, since = 0, time.monotonic()
    while (done := len(set(marks()))) < sent and time.monotonic() - since < patience:
        if done > seen:
            seen, since = done, time.monotonic()
        time.sleep(0.2)
