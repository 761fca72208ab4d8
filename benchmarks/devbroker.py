#!/usr/bin/env python3
"""Measure the dev broker beside RabbitMQ: the same amqtask rows on both, alternating, in one session.

benchmarks/.venv/bin/python benchmarks/devbroker.py           three rounds, a table
benchmarks/.venv/bin/python benchmarks/devbroker.py --write   and into README.md
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from harness import counter
from harness.measures import MEASURES, Bench, Figures
from harness.node import Node, running
from variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).resolve().parent
BEGIN, END = "<!-- dev broker: begin -->", "<!-- dev broker: end -->"
ROWS = {
    "enqueue | amqtask | delay, classic": "rate",
    "enqueue | amqtask | delay_many, classic": "rate",
    "drain | amqtask | prefork 2, prefetch auto, classic": "rate",
    "drain | amqtask | prefork 2, prefetch auto, quorum": "rate",
    "latency | amqtask | prefork 2": "p50",
    "idle | amqtask | prefork 2": "first_task",
}
"""Which rows, and the figure of each that is compared."""


@contextlib.contextmanager
def dev_broker() -> Iterator[Node]:
    """A dev broker in a process of its own."""
    command = [sys.executable, "-m", "amqtask.testing.devbroker", "--announce"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Node(json.loads(process.stdout.readline())["url"])
        finally:
            process.stdin.close()  # it ends with whoever started it


def measure(rounds: int, scale: float) -> tuple[dict[str, dict[str, list[float]]], float]:
    """Every row on both brokers; and the dev broker's largest resident memory, in MB, once no message is left."""
    rows = [variant for variant in VARIANTS if any(variant.key.startswith(name) for name in ROWS)]
    found: dict[str, dict[str, list[float]]] = {}
    largest = 0.0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        counter.create(folder / "counter")
        log = stack.enter_context((folder / "workers.log").open("wb"))
        brokers = {"RabbitMQ": stack.enter_context(running()), "dev broker": stack.enter_context(dev_broker())}
        idle = psutil.Process(brokers["dev broker"].pid).memory_info().rss / 1e6
        print(f"dev broker: {idle:.1f} MB at first")
        for number in range(rounds):
            for variant in rows:
                for name, node in brokers.items():
                    figures: Figures = MEASURES[variant.measure](variant, Bench(node, log, scale))
                    value = figures[next(figure for key, figure in ROWS.items() if variant.key.startswith(key))]
                    found.setdefault(variant.key, {}).setdefault(name, []).append(value)
                    print(f"{number + 1}/{rounds}  {variant.key}  {name}: {value:.4g}", flush=True)
                    largest = max(largest, psutil.Process(brokers["dev broker"].pid).memory_info().rss / 1e6)
    return found, largest


def markdown(found: dict[str, dict[str, list[float]]], largest: float) -> str:
    lines = ["| row | RabbitMQ | dev broker | ratio |", "| --- | --- | --- | --- |"]
    for key, values in found.items():
        real, dev = (statistics.median(values[name]) for name in ("RabbitMQ", "dev broker"))
        unit = next(figure for row, figure in ROWS.items() if key.startswith(row))
        shown = {"rate": "/s", "p50": " ms", "first_task": " s"}[unit]
        lines.append(f"| {key.replace(' | ', ', ')} | {real:,.4g}{shown} | {dev:,.4g}{shown} | {dev / real:.2f}x |")
    lines.append(f"\nResident memory of the dev broker after these runs: {largest:.0f} MB.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=0.5, help="factor on the messages of a drain")
    parser.add_argument("--write", action="store_true", help="into README.md")
    options = parser.parse_args()
    text = markdown(*measure(options.rounds, options.scale))
    print(text)
    if options.write:
        readme = HOME / "README.md"
        before, rest = readme.read_text().split(BEGIN)
        readme.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
