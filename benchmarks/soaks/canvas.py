"""Random pieces of work while children and workers are killed and messages come twice: all come to what they should.

    python benchmarks/soaks/canvas.py --trees 1000

Each piece is compared with a direct evaluation: its value, which tasks ran and with what, which errbacks were called;
and no task was ever sent under two ids. Tasks fail and are tried again at random. Batches take turns between answers by
message, a store in files and Redis (where it is installed), so RabbitMQ counts chords and Redis does; in every second
round chains of three steps or more are parked as long ones are. Uses the broker
of AMQTASK_BROKER_URL (scripts/rabbitmq start --temporary gives one), else starts one; AMQTASK_TEST_BROKER=dev takes the
development broker.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from amqtask.canvas import parking
from canvas_bench import ENTRY, Bench, children, twice
from chosen_broker import shared_node
from stores import redis_server
from worker_process import new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Node

_BATCH = 50
_DEATHS = (0.3, 0.6)
"""Shares of the tasks that have run when the worker is killed."""


class Figures:
    """What has happened."""

    def __init__(self) -> None:
        self.trees = self.runs = self.children = self.workers = 0
        self.seconds = 0.0

    def __str__(self) -> str:
        return "  ".join(f"{name}={value:.4g}" for name, value in vars(self).items())


class Killer:
    """Kills a child of the worker now and then, until it is ended."""

    def __init__(self, rng: random.Random) -> None:
        self.worker, self.killed = None, 0
        self._rng, self._ended = rng, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._rng.uniform(0.1, 0.6)):
            worker = self.worker
            found = [] if worker is None else children(worker)
            if found:
                with suppress(ProcessLookupError):
                    os.kill(self._rng.choice(found).pid, signal.SIGKILL)
                    self.killed += 1


def batch(node: Node, place: str, seeds: range, figures: Figures, *, parks: bool) -> None:
    """Send some trees and check what became of them."""
    rng = random.Random(seeds[0])
    folder = Path(tempfile.mkdtemp(prefix="amqtask-soak-"))
    with new_site(node, folder, ENTRY) as site:
        bench = Bench(site, place or f"file://{folder}/results", seeds)
        if parks:
            bench.app.canvas._park_after = 1
        with twice(site.url, rng):
            with Killer(rng) as killer:
                killer.worker = bench.worker()
                bench.send_trees()
                for share in _DEATHS:
                    bench.part_done(share)
                    worker, killer.worker = killer.worker, None
                    worker.kill()
                    killer.worker = bench.worker()
                    figures.workers += 1
                bench.check_trees()
            bench.wait(lambda: site.ready("entry") == 0)
            bench.end(killer.worker)
        bench.app.close()
        figures.trees += len(seeds)
        figures.runs += len(bench.runs)
        figures.children += killer.killed
    shutil.rmtree(folder)


@contextmanager
def places() -> Iterator[list[str]]:
    """URLs of backends; "" stands for files."""
    if shutil.which("redis-server") is None:
        yield ["rpc://", ""]
        return
    with redis_server() as redis:
        yield ["rpc://", redis.url, ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    given = parser.parse_args()
    figures, begun = Figures(), time.monotonic()
    parking.SEGMENT = 1  # asked only where chains are parked
    last = given.first + given.trees
    with shared_node() as node, places() as urls:
        for number, (first, place) in enumerate(zip(range(given.first, last, _BATCH), cycle(urls))):
            parks = number // len(urls) % 2 == 1
            batch(node, place, range(first, min(first + _BATCH, last)), figures, parks=parks)
            figures.seconds = time.monotonic() - begun
            print(place or "file", figures, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
