"""The producing side of a run, in a process of its own: ``python -m harness.client PEER OPERATION NUMBER``.

Prints one line of JSON. CPU is this process's (user and system, all threads) over the measured span only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

from harness import counter

BATCH = 5000
"""Messages per call of ``send_many``."""

_WARM_UP_MAX = 0.5
_SPACING = 0.003
_PATIENCE = 10.0


def settings() -> dict[str, Any]:
    return json.loads(os.environ["BENCH_SETTINGS"])


def _broker_cpu() -> float:
    import psutil  # noqa: PLC0415 -- not needed for every operation

    pid = os.environ["BENCH_BROKER_PID"]
    if not pid:
        return float("nan")
    times = psutil.Process(int(pid)).cpu_times()
    return times.user + times.system


def fill(client: Any, number: float) -> dict[str, Any]:
    """Send ``number`` messages in the fastest way the peer has."""
    left = int(number)
    while left:
        left -= client.send_many(min(left, BATCH))
    client.flush()
    return {"sent": int(number)}


def enqueue(client: Any, seconds: float) -> dict[str, Any]:
    """Send for ``seconds``, as the variant says; measured from after the warm-up to the last confirm."""
    pipelined = settings()["pipelined"]

    def send_for(seconds: float) -> int:
        sent, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            if pipelined:
                sent += client.send_many(BATCH)
            else:
                client.send()
                sent += 1
        client.flush()
        return sent

    warm = send_for(min(_WARM_UP_MAX, seconds))
    started, used, brokers = time.perf_counter(), time.process_time(), _broker_cpu()
    sent = send_for(seconds)
    took = time.perf_counter() - started
    return {
        "sent": warm + sent,
        "rate": sent / took,
        "cpu10k": (time.process_time() - used) / sent * 1e4,
        "broker10k": (_broker_cpu() - brokers) / sent * 1e4,
    }


def latency(client: Any, samples: float) -> dict[str, Any]:
    """From before the send to the first line of the task, one message at a time, in milliseconds."""
    warm_up = 20
    taken = []
    for number in range(warm_up + int(samples)):
        sent = time.monotonic_ns()
        client.send_numbered(number)
        client.flush()
        deadline = time.monotonic() + _PATIENCE
        while not (ran := counter.moment_of(number)):
            if time.monotonic() > deadline:
                raise SystemExit(f"task {number} did not run")
            time.sleep(0.0002)
        taken.append((ran - sent) / 1e6)
        time.sleep(_SPACING)
    return {"samples": taken[warm_up:]}


def main() -> None:
    peer, operation, number = sys.argv[1:]
    client = import_module(f"peers.{peer}_peer").Client(settings())
    report = {"fill": fill, "enqueue": enqueue, "latency": latency}[operation](client, float(number))
    client.close()
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
