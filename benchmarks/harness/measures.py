"""The four measures: what is done in one run, and which figures come out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from harness import counter
from harness.processes import BenchmarkError, Workers, cpu, machine_cpu, pss, run_client
from peers.launch import queues_of

if TYPE_CHECKING:
    from harness.node import Node
    from variants import Variant

Figures = dict[str, float]

SPAN = (0.15, 0.95)
"""Share of the messages done between which a drain is measured: start and end are left out."""

_LAST_ACKS = 0.5
"""Seconds after the last task until the workers are told to end: a task counts before it is acknowledged."""


@dataclass(frozen=True)
class Bench:
    """Where and how much is measured.

    Attributes:
        node: the broker.
        log: of the workers.
        scale: factor on the numbers of messages of a drain.
        seconds: of an enqueue run, after its warm-up.
        samples: of a latency run.
        idle: seconds over which an idle worker's CPU is taken.
    """

    node: Node
    log: IO[bytes]
    scale: float = 1.0
    seconds: float = 3.0
    samples: int = 300
    idle: float = 5.0


def enqueue(variant: Variant, bench: Bench) -> Figures:
    """Messages per second of one producer, and that the broker has every one of them."""
    queue = _fresh(variant, bench)
    report = run_client(variant, bench.node, "enqueue", bench.seconds)
    sent = int(report.pop("sent"))
    report["lost"] = sent - bench.node.await_depth(queue, sent)
    _clean(variant, bench)
    return report


def drain(variant: Variant, bench: Bench) -> Figures:
    """Tasks per second of workers that find their queue full."""
    count = max(50, int(variant.messages * bench.scale))
    queue = _fresh(variant, bench)
    run_client(variant, bench.node, "fill", count)
    if (depth := bench.node.await_depth(queue, count)) != count:
        raise BenchmarkError(f"{count} messages were sent, {depth} are in the queue")
    with Workers(variant, bench.node, bench.log) as workers:
        first, last = (int(count * share) for share in SPAN)
        workers.wait(lambda: counter.total() >= first, 60)
        tree = workers.tree()
        before = counter.total(), time.perf_counter(), cpu(tree), bench.node.cpu(), machine_cpu()
        workers.wait(lambda: counter.total() >= last, 120)
        after = counter.total(), time.perf_counter(), cpu(tree), bench.node.cpu(), machine_cpu()
        memory = pss(workers.tree())
        workers.wait(lambda: counter.total() >= count, 30)
        time.sleep(_LAST_ACKS)
    _all_settled(queue, count, bench)
    _clean(variant, bench)
    tasks, seconds, used, brokers, busy = (end - start for start, end in zip(before, after, strict=True))
    if not tasks:
        raise BenchmarkError("too few messages to measure anything: all done between two looks")
    return {
        "rate": tasks / seconds,
        "cpu10k": used / tasks * 1e4,
        "broker10k": brokers / tasks * 1e4,
        "other_cores": max(0.0, busy - used - brokers) / seconds,
        "seconds": seconds,
        "pss": memory,
    }


def latency(variant: Variant, bench: Bench) -> Figures:
    """Milliseconds from before the send to the first line of the task; everything is idle otherwise."""
    _fresh(variant, bench)
    with Workers(variant, bench.node, bench.log) as workers:
        _first_task(variant, bench, workers)
        time.sleep(0.5)
        samples = sorted(run_client(variant, bench.node, "latency", bench.samples)["samples"])
    _clean(variant, bench)
    return {f"p{share}": samples[min(len(samples) - 1, len(samples) * share // 100)] for share in (50, 95, 99)}


def idle(variant: Variant, bench: Bench) -> Figures:
    """A worker that has done one task: start-up time, memory, CPU, connections."""
    _fresh(variant, bench)
    run_client(variant, bench.node, "fill", 1)
    with Workers(variant, bench.node, bench.log) as workers:
        workers.wait(lambda: counter.total() >= 1, 60, interval=0.001)
        first = time.perf_counter() - workers.started
        time.sleep(min(2, bench.idle))
        tree = workers.tree()
        used, started = cpu(tree), time.perf_counter()
        time.sleep(bench.idle)
        figures = {
            "first_task": first,
            "pss": pss(tree),
            "cpu_percent": (cpu(tree) - used) / (time.perf_counter() - started) * 100,
            "processes": len(tree),
        }
        if (connections := bench.node.connections()) is not None:
            figures["connections"] = connections
    _clean(variant, bench)
    return figures


MEASURES = {"enqueue": enqueue, "drain": drain, "latency": latency, "idle": idle}


def _fresh(variant: Variant, bench: Bench) -> str:
    _clean(variant, bench)
    counter.clear()
    return queues_of(variant.peer)[0]


def _clean(variant: Variant, bench: Bench) -> None:
    bench.node.delete(*queues_of(variant.peer))


def _first_task(variant: Variant, bench: Bench, workers: Workers) -> None:
    run_client(variant, bench.node, "fill", 1)
    workers.wait(lambda: counter.total() >= 1, 60)


def _all_settled(queue: str, count: int, bench: Bench) -> None:
    """The workers are gone: whatever they had not acknowledged is back in the queue."""
    if (ran := counter.total()) != count:
        raise BenchmarkError(f"{count} messages, but tasks ran {ran} times")
    if left := bench.node.depth(queue):
        raise BenchmarkError(f"every task ran, but {left} messages were not acknowledged")
