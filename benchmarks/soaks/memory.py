"""Whether a worker grows: no-op tasks by the hundred thousand, with its connections cut again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from soaks.soak_app import nothing
from soaks.workers import worker

if TYPE_CHECKING:
    from pathlib import Path

    from harness.node import Node

_BATCH = 10_000


def memory(node: Node, folder: Path, tasks: int = 1_000_000, cut_every: float = 60.0) -> dict[str, float]:
    """Growth of the resident memory of worker and children, after a tenth of the tasks has warmed them up.

    Returns:
        ``slope_kb_per_1000_tasks`` by least squares, and how often the connections were cut.
    """
    process = worker("-c", "2", "-n", "memory@soak", log=folder / "log")
    samples: list[tuple[int, float]] = []
    sent = cuts = 0
    last_cut = time.monotonic()
    try:
        while sent < tasks:
            nothing.delay_many([()] * _BATCH)
            sent += _BATCH
            while node.depth("amqtask") > 2 * _BATCH:
                time.sleep(0.05)
            if time.monotonic() - last_cut > cut_every:
                last_cut, cuts = time.monotonic(), cuts + 1
                node.ctl("close_all_connections", "soak")
            if sent > tasks // 10:
                samples.append((sent, _resident(process.pid)))
        while node.depth("amqtask"):
            time.sleep(0.1)
        return {"tasks": float(sent), "cuts": float(cuts), "slope_kb_per_1000_tasks": 1000 * _slope(samples)}
    finally:
        process.terminate()
        process.wait(60)


def _resident(pid: int) -> float:
    """In kB."""
    top = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (top, *top.children(recursive=True))) / 1024


def _slope(samples: list[tuple[int, float]]) -> float:
    count = len(samples)
    mean_x, mean_y = sum(x for x, _ in samples) / count, sum(y for _, y in samples) / count
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / sum((x - mean_x) ** 2 for x, _ in samples)
