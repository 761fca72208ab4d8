#!/usr/bin/env python3
"""Measure results beside Celery and Dramatiq: one call and its answer, and a group of 1,000 and all its answers.

benchmarks/.venv/bin/python benchmarks/answers.py            every way, three rounds, a table
benchmarks/.venv/bin/python benchmarks/answers.py --write    and into README.md

Every way has two worker processes, classic queues, JSON on the wire and persistent messages; confirms only where they
are the default (amqtask). Tasks are acknowledged after they ran. Dramatiq has no results over RabbitMQ. Over rpc:// the
broker has written an answer of amqtask to disk before the task is acknowledged, unless result_persistent is off; the
others keep theirs in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.node import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME = Path(__file__).resolve().parent
SERVICES = HOME.parent / "scripts" / "services"
BEGIN, END = "<!-- answers: begin -->", "<!-- answers: end -->"
MEMBERS, GROUPS, CALLS, WARM_UP = 1000, 5, 500, 100

AMQTASK = """
from amqtask import Amqtask, Queue, group

app = Amqtask("answers", broker={broker!r}, backend={backend!r}, task_default_queue={queue!r},
              task_serializer="json", result_persistent={persistent!r},
              task_queues=[Queue({queue!r}, type="classic")])


@app.task(name="answers.add")
def add(a, b):
    return a + b


def call():
    return add.delay(1, 7).get(timeout=30)


def gather(count):
    return group(add.s(number, 1) for number in range(count))().get(timeout=60)
"""

CELERY = """
from celery import Celery, group

app = Celery("answers", broker={broker!r}, backend={backend!r})
app.conf.update(task_default_queue={queue!r}, task_acks_late=True, worker_hijack_root_logger=False)


@app.task(name="answers.add")
def add(a, b):
    return a + b


def call():
    return add.delay(1, 7).get(timeout=30)


def gather(count):
    return group(add.s(number, 1) for number in range(count))().get(timeout=60)
"""

DRAMATIQ = """
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RabbitmqBroker(url={broker!r})
broker.add_middleware(Results(backend=RedisBackend(url={backend!r})))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name={queue!r}, store_results=True)
def add(a, b):
    return a + b


def call():
    return add.send(1, 7).get_result(block=True, timeout=30_000)


def gather(count):
    return list(dramatiq.group([add.message(number, 1) for number in range(count)]).run().get_results(block=True))
"""

WORKERS = {
    "amqtask": ("-m", "amqtask", "-A", "answers_app", "worker", "-P", "prefork", "-c", "2", "-l", "WARNING"),
    "celery": (
        "-m", "celery", "-A", "answers_app", "worker", "-c", "2", "-l", "WARNING",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ),
    "dramatiq": ("-m", "dramatiq", "answers_app", "--processes", "2", "--threads", "1"),
}  # fmt: skip
PROGRAMS = {"amqtask": AMQTASK, "celery": CELERY, "dramatiq": DRAMATIQ}
MEMORY = ", result_persistent=False"
"""What the others do: answers that a restart of the broker, or of Redis, loses."""
WAYS = (
    ("amqtask", "rpc"), ("amqtask", f"rpc{MEMORY}"), ("celery", "rpc"),
    ("amqtask", "redis"), ("celery", "redis"), ("dramatiq", "redis"),
)  # fmt: skip


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """URL of a private Redis."""
    with tempfile.TemporaryDirectory() as state:
        Path(state).chmod(0o755)
        words = [sys.executable, str(SERVICES), "--state", state]
        lines = subprocess.run([*words, "start", "redis"], check=True, capture_output=True, text=True).stdout
        try:
            yield next(line.partition("=")[2].strip("'\"") for line in lines.splitlines() if "REDIS_URL" in line)
        finally:
            subprocess.run([*words, "stop"], check=True, capture_output=True)


@contextlib.contextmanager
def worker(peer: str, folder: str) -> Iterator[None]:
    """The peer's worker."""
    environment = {**os.environ, "PYTHONPATH": folder}
    with subprocess.Popen(
        [sys.executable, *WORKERS[peer]], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def client(folder: str) -> dict[str, float]:
    """In a process of its own: p50 of a call in milliseconds, members of a group per second."""
    sys.path.insert(0, folder)
    program: Any = importlib.import_module("answers_app")

    def timed(once: Callable[[], Any], count: int) -> list[float]:
        found = []
        for _ in range(count):
            begin = time.perf_counter()
            once()
            found.append(time.perf_counter() - begin)
        return found

    def gather() -> None:
        assert len(program.gather(MEMBERS)) == MEMBERS

    timed(program.call, WARM_UP)
    calls = sorted(timed(program.call, CALLS))
    timed(gather, 1)
    groups = timed(gather, GROUPS)
    return {
        "p50": statistics.median(calls) * 1000,
        "p99": calls[len(calls) * 99 // 100] * 1000,
        "rate": MEMBERS / statistics.median(groups),
    }


def measure(peer: str, broker: str, backend: str, *, persistent: bool) -> dict[str, float]:
    """One way, once."""
    with tempfile.TemporaryDirectory() as folder:
        queue = f"answers.{peer}.{backend.partition(':')[0]}"
        program = PROGRAMS[peer].format(broker=broker, backend=backend, queue=queue, persistent=persistent)
        (Path(folder) / "answers_app.py").write_text(program)
        with worker(peer, folder):
            words = [sys.executable, __file__, "--client", folder]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def table(found: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    """Medians of the rounds, ratios to Celery's way over the same backend."""
    lines = ["| way | call p50 | p99 | to Celery's | group of 1,000: members/s | to Celery's |", "| --- " * 6 + "|"]
    middle = {
        way: {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        for way, rounds in found.items()
    }
    for (peer, backend), own in middle.items():
        other = middle[("celery", backend.removesuffix(MEMORY))]
        lines.append(
            f"| {peer}, {backend} | {own['p50']:.2f} ms | {own['p99']:.2f} ms | {own['p50'] / other['p50']:.2f}x "
            f"| {own['rate']:,.0f} | {own['rate'] / other['rate']:.2f}x |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into README.md")
    parser.add_argument("--client", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(json.dumps(client(options.client)))
        sys.stdout.flush()
        os._exit(0)  # whatever the peers' clients would still do at exit is not measured
    found: dict[tuple[str, str], list[dict[str, float]]] = {way: [] for way in WAYS}
    with running() as node, redis() as store:
        for number in range(options.rounds):
            for database, (peer, backend) in enumerate(WAYS):
                url = "rpc://" if backend.startswith("rpc") else f"{store.rsplit('/', 1)[0]}/{database}"
                measured = measure(peer, node.url, url, persistent=MEMORY not in backend)
                found[(peer, backend)].append(measured)
                print(f"{number + 1}/{options.rounds}  {peer}, {backend}: {measured}", flush=True)
    text = table(found)
    print(text)
    if options.write:
        page = HOME / "README.md"
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
