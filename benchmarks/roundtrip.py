#!/usr/bin/env python3
"""Measure a call and its answer over rpc://, one at a time, everything idle.

benchmarks/.venv/bin/python benchmarks/roundtrip.py             all ways, three rounds, a table
benchmarks/.venv/bin/python benchmarks/roundtrip.py -w pika     some ways only

The ways:

pika      a plain pika client (confirm, then the answer) and a plain pika echo: what the wire allows
threads   amqtask's rpc:// from a thread, the same echo
asyncio   amqtask's rpc:// from a coroutine, the same echo
worker    delay().get() with a worker of amqtask, prefork 1; classic queue, as the ways above
pool      the same with a pool of one thread
quorum    the same as "worker" on a quorum queue, whose confirms wait for the disk

Ratios are to "pika" of the same round. Figures are milliseconds, medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
from amqtask.app.transport import BrokerTransport
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.config.settings import Settings
from amqtask.results.backends.rpc import RpcBackend
from amqtask.wire.ids import new_id
from amqtask.wire.message import Outgoing, Properties

from harness.node import Node, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUEUE = "bench.roundtrip"
BODY = b'[[1, 7], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
WARM_UP = 100


def echo(url: str) -> None:
    """Answer every message as a Celery worker does, until killed."""
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(QUEUE, durable=True)
    print("ready", flush=True)

    def answer(_channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        meta = {"status": "SUCCESS", "result": 8, "traceback": None, "children": [], "task_id": properties.message_id}
        answer_properties = pika.BasicProperties(
            correlation_id=properties.correlation_id, content_type="application/json", delivery_mode=2
        )
        channel.basic_publish("", properties.reply_to, json.dumps(meta).encode(), answer_properties)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, answer)
    channel.start_consuming()


@contextlib.contextmanager
def child(*command: str, ready: str, **variables: str) -> Iterator[None]:
    """A process that has said that it is ready."""
    environment = {**os.environ, **variables}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as it:
        assert it.stdout is not None
        said = []
        for line in it.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            raise SystemExit(f"{command} has ended:\n{''.join(said)}")
        try:
            yield
        finally:
            it.terminate()
            it.wait(30)


def timed(once: Callable[[], None], count: int) -> list[float]:
    """Milliseconds of each call."""
    for _ in range(WARM_UP):
        once()
    found = []
    for _ in range(count):
        begin = time.perf_counter()
        once()
        found.append((time.perf_counter() - begin) * 1000)
    return found


def by_pika(url: str, count: int) -> list[float]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    replies = f"bench.reply.{uuid.uuid4()}"
    channel.queue_declare(replies, durable=True, arguments={"x-expires": 60_000})
    answers = channel.consume(replies, auto_ack=True)

    def once() -> None:
        wanted = str(uuid.uuid4())
        properties = pika.BasicProperties(correlation_id=wanted, reply_to=replies, delivery_mode=2)
        channel.basic_publish("", QUEUE, BODY, properties, mandatory=True)
        while next(answers)[1].correlation_id != wanted:
            pass

    found = timed(once, count)
    channel.queue_delete(replies)
    connection.close()
    return found


def _desk(url: str) -> tuple[BrokerTransport, RpcBackend]:
    transport = BrokerTransport(parse_urls(url), ConnectionOptions(), "round-robin")
    backend = RpcBackend("rpc://", Settings())
    backend.bind(transport)
    return transport, backend


def _message(backend: RpcBackend, task_id: str) -> Outgoing:
    properties = Properties(correlation_id=task_id, message_id=task_id, reply_to=backend.reply_to, delivery_mode=2)
    return Outgoing("", QUEUE, properties, BODY)


def by_threads(url: str, count: int) -> list[float]:
    transport, backend = _desk(url)

    def once() -> None:
        task_id = new_id()
        transport.send(_message(backend, task_id), timeout=5)
        watch = backend.watch([task_id])
        while not watch.wait(5):
            pass
        watch.close()

    found = timed(once, count)
    transport.close()
    return found


def by_asyncio(url: str, count: int) -> list[float]:
    transport, backend = _desk(url)

    async def once() -> None:
        task_id = new_id()
        await transport.asend(_message(backend, task_id), timeout=5)
        watch = backend.watch([task_id])
        while not await watch.await_(5):
            pass
        watch.close()

    with asyncio.Runner() as runner:
        return timed(lambda: runner.run(once()), count)


PROGRAM = """
from amqtask import Amqtask, Queue

app = Amqtask("roundtrip", broker={url!r}, backend="rpc://", task_default_queue={queue!r},
              task_queues=[Queue({queue!r}, type={kind!r})])


@app.task(name="roundtrip.add")
def add(a, b):
    return a + b
"""


def by_worker(pool: str, kind: str = "classic") -> Callable[[str, int], list[float]]:
    def measure(url: str, count: int) -> list[float]:
        program = PROGRAM.format(url=url, queue=f"{QUEUE}.{kind}", kind=kind)
        names: dict[str, Any] = {}
        exec(program, names)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "roundtrip_worker.py").write_text(program)
            command = (sys.executable, "-m", "amqtask", "-A", "roundtrip_worker", "worker", "-P", pool, "-c", "1")
            with child(*command, ready="ready", PYTHONPATH=folder):
                found = timed(lambda: names["add"].delay(1, 7).get(timeout=10), count)
        names["app"].close()
        return found

    return measure


WAYS: dict[str, Callable[[str, int], list[float]]] = {
    "pika": by_pika,
    "threads": by_threads,
    "asyncio": by_asyncio,
    "worker": by_worker("prefork"),
    "pool": by_worker("threads"),
    "quorum": by_worker("prefork", "quorum"),
}


def measure(node: Node, ways: list[str], rounds: int, count: int) -> dict[str, list[tuple[float, float]]]:
    """Median and 99th percentile of each way in each round."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with child(sys.executable, __file__, "--echo", node.url, ready="ready"):
        for _ in range(rounds):
            for way in ways:
                times = sorted(WAYS[way](node.url, count))
                found[way].append((statistics.median(times), times[len(times) * 99 // 100]))
                print(f"{way}: p50 {found[way][-1][0]:.3f} ms, p99 {found[way][-1][1]:.3f} ms", flush=True)
    return found


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    lines = ["| way | p50 | p99 | p50 to pika's |", "| --- | --- | --- | --- |"]
    base = found.get("pika")
    for way, rounds in found.items():
        p50, p99 = (statistics.median(values) for values in zip(*rounds, strict=True))
        ratio = (
            "" if base is None else f"{statistics.median(a[0] / b[0] for a, b in zip(rounds, base, strict=True)):.2f}x"
        )
        lines.append(f"| {way} | {p50:.3f} | {p99:.3f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--way", action="append", choices=list(WAYS), help="default: all")
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("-n", "--count", type=int, default=1000, help="calls per round")
    parser.add_argument("--echo", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        echo(options.echo)
        return
    with running() as node:
        print(table(measure(node, options.way or list(WAYS), options.rounds, options.count)))


if __name__ == "__main__":
    main()
