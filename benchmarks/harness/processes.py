"""Worker trees and client processes: start, CPU time, memory, stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import psutil

from peers.launch import worker_commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.node import Node
    from variants import Variant

HOME = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """A run that gives no figure: a worker that died, a message that is missing."""


def environment(variant: Variant, node: Node) -> dict[str, str]:
    """What clients and workers of a variant find in their environment."""
    return os.environ | {
        "PYTHONPATH": f"{HOME}{os.pathsep}{HOME.parent}",
        "PYTHONWARNINGS": "ignore",
        "C_FORCE_ROOT": "1",  # Celery
        "BENCH_BROKER": node.url,
        "BENCH_BROKER_PID": str(node.pid or ""),
        "BENCH_SETTINGS": json.dumps(variant.settings),
    }


def run_client(variant: Variant, node: Node, operation: str, number: float) -> dict[str, Any]:
    """Run one operation of :mod:`harness.client` to its end; returns what it reports."""
    command = [sys.executable, "-m", "harness.client", variant.peer, operation, str(number)]
    ran = subprocess.run(
        command,
        cwd=HOME,
        env=environment(variant, node),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ran.returncode:
        raise BenchmarkError(f"the client failed ({operation}):\n{ran.stderr.strip()[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


class Workers:
    """The worker processes of a variant with everything below them; leaving the context stops them."""

    def __init__(self, variant: Variant, node: Node, log: IO[bytes]) -> None:
        self._log = log
        self.started = time.perf_counter()
        commands, extra = worker_commands(variant.peer, variant.settings)
        self._processes = [
            subprocess.Popen(
                command,
                cwd=HOME,
                env=environment(variant, node) | extra,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for command in commands
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def tree(self) -> list[psutil.Process]:
        found = []
        for process in self._processes:
            try:
                top = psutil.Process(process.pid)
                found += [top, *top.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return found

    def wait(self, condition: Callable[[], bool], seconds: float, *, interval: float = 0.004) -> None:
        """Wait for the condition.

        Raises:
            BenchmarkError: a worker ended, or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if any(process.poll() is not None for process in self._processes):
                raise BenchmarkError(f"a worker ended by itself; see {self._log.name}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"no progress in {seconds} s; see {self._log.name}")
            time.sleep(interval)

    def stop(self, seconds: float = 8) -> None:
        """Ask them to end, and after ``seconds`` make them."""
        tree = self.tree()
        for process in self._processes:
            process.terminate()
        _, left = psutil.wait_procs(tree, timeout=seconds)
        for process in left:
            process.kill()
        for process in self._processes:
            process.wait()


def cpu(processes: list[psutil.Process]) -> float:
    """User and system seconds of these processes so far."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def machine_cpu() -> float:
    """Busy seconds of all cores so far."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal


def pss(processes: list[psutil.Process]) -> float:
    """Memory in MB, shared pages counted once."""
    return sum(process.memory_full_info().pss for process in processes) / 2**20
