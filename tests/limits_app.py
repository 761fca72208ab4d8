"""Tasks with limits, for workers of the tests (``-A limits_app``); they write down what they do as those of crew."""

from __future__ import annotations

import os
import time

from crew import gate, record

from amqtask import Amqtask, Limit

app = Amqtask("limits", routing="routing.yaml")


@app.task(name="shared", rate_limit=os.environ.get("SHARED_RATE", "10/s"), scope="global")
def shared(label: str) -> None:
    record("done", label)


@app.task(name="paced", rate_limit="4/s")
def paced(label: str) -> None:
    record("done", label)


@app.task(name="few", max_concurrency=2)
def few(label: str, seconds: float = 0.1) -> None:
    record("start", label)
    time.sleep(seconds)
    record("done", label)


@app.task(name="few_held", max_concurrency=2)
def few_held(label: str) -> None:
    record("start", label)
    while not gate(label):
        time.sleep(0.01)
    record("done", label)


@app.task(name="per_tenant", max_concurrency=Limit(1, key="tenant"))
def per_tenant(label: str, tenant: str) -> None:
    record("start", label, tenant=tenant)
    time.sleep(0.05)
    record("done", label, tenant=tenant)


@app.task(name="free")
def free(label: str) -> None:
    record("done", label)


@app.task(name="greedy")
def greedy(label: str, mebibytes: int) -> None:
    kept = bytearray(b"x" * (mebibytes << 20))
    record("start", label)
    while not gate(label):
        time.sleep(0.01)
    record("done", label, size=len(kept))
