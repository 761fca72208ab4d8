"""An app for tests of the pytest plugin: two queues with policies, a classic one, tasks that leave traces."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import timedelta

from amqtask import Amqtask, Exchange, Ignore, Queue, Reject, RetryPolicy, Route

app = Amqtask(
    "plugged",
    task_queues=[
        Queue(
            "emails",
            Exchange("tasks", "topic"),
            routing_key="email.#",
            retry=RetryPolicy((timedelta(seconds=5), timedelta(seconds=30)), max_retries=2),
        ),
        Queue("files"),
        Queue("old", type="classic"),
    ],
    task_routes=[Route("mail.*", exchange="tasks", routing_key="email.send"), Route("*", queue="files")],
)

runs: list[object] = []
gate = threading.Event()


@app.task(name="mail.send")
def send(address, copies=1):
    runs.append(address)
    return address


@app.task(name="mail.fails")
def fails(number):
    runs.append(number)
    raise OSError("smtp down")


@app.task(name="resize")
async def resize(path):
    await asyncio.sleep(0)
    runs.append(path)


@app.task(name="fan")
def fan(number):
    for index in range(number):
        resize.delay(f"p{index}")


@app.task(name="early", acks_late=False)
def early(number):
    """Acked when it starts, and sends more when it is about to end."""
    if number:
        time.sleep(0.01)
        early.delay(number - 1)
    runs.append(number)


@app.task(name="old", queue="old")
def old(number):
    runs.append(number)


@app.task(name="ends")
def ends(how):
    raise {"ignored": Ignore(), "rejected": Reject("bad"), "failed": ValueError("bad")}[how]


@app.task(name="waits")
def waits():
    gate.wait(60)


@app.task(name="dies", bind=True)
def dies(self):
    """Its process dies the first time."""
    if not self.request.redelivered and not self.request.headers.get("x-amqtask-lost"):
        os._exit(9)
