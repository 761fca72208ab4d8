"""What idle workers cost: CPU of one, and messages per second of a crowd at the broker.

A soak of its own because no test should take a minute to see nothing happen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from harness.processes import cpu, pss
from soaks.workers import counters, worker

if TYPE_CHECKING:
    from pathlib import Path

    from harness.node import Node


def idle(node: Node, folder: Path, seconds: float = 60.0) -> dict[str, float]:
    """CPU share of one prefork worker with two children, and what it asks of the broker meanwhile."""
    process = worker("-c", "2", "-n", "idle@soak", log=folder / "log")
    try:
        _await_consumers(node, 1)
        time.sleep(5)  # what start-up has left to do
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        before, counted, started = cpu(tree), counters(node), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - started
        used, counts = cpu(tree) - before, counters(node)
        return {
            "cpu_percent_of_a_core": 100 * used / elapsed,
            "messages_per_second": (counts["received"] - counted["received"]) / elapsed,
            "basic_get": float(counts.get("get_empty", 0) - counted.get("get_empty", 0)),
            "pss_mb": pss(tree),
        }
    finally:
        process.terminate()
        process.wait(20)


def crowd(node: Node, folder: Path, workers: int = 200, seconds: float = 60.0) -> dict[str, float]:
    """Messages per second that idle workers cause together."""
    processes = []
    try:
        for number in range(workers):
            processes.append(worker("-P", "solo", "-n", f"idle{number}@soak", log=folder / "log"))
            if number % 10 == 9:  # no more than the machine can start at once
                _await_consumers(node, number - 5)
        _await_consumers(node, workers)
        time.sleep(35)  # until the first heartbeats have found that nobody listens
        counted, started = counters(node), time.monotonic()
        time.sleep(seconds)
        elapsed, counts = time.monotonic() - started, counters(node)
        return {
            "workers": float(workers),
            "messages_per_second": (counts["received"] - counted["received"]) / elapsed,
            "unroutable_per_second": (counts["unroutable_returned"] - counted["unroutable_returned"]) / elapsed,
            "connections": float(node.connections() or 0),
        }
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def _await_consumers(node: Node, wanted: int, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while _consumers(node) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {wanted} consumers after {seconds} s")
        time.sleep(0.5)


def _consumers(node: Node) -> int:
    from pika.exceptions import ChannelClosedByBroker  # noqa: PLC0415

    try:
        with node.channel() as channel:
            return int(channel.queue_declare("amqtask", passive=True).method.consumer_count)
    except ChannelClosedByBroker:
        return 0
