"""An app whose workers tell Sentry; what would be sent to it are lines of a file in its folder."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport
from sentry_sdk.worker import BackgroundWorker

from amqtask import Amqtask, signals
from amqtask.contrib.sentry import AmqtaskIntegration

ENVELOPES = Path("envelopes")

may_send = threading.Event()
"""Nothing is sent before children are forked."""


class Slow(Transport):
    """Sends as Sentry's own transports do, from a thread of its own and later; into a file."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._worker = BackgroundWorker()

    def capture_envelope(self, envelope: Any) -> None:
        lines = [json.dumps({"type": one.type, "pid": os.getpid(), **one.payload.json}) for one in envelope.items]
        self._worker.submit(lambda: self._write(lines))

    def flush(self, timeout: float, callback: Any = None) -> None:
        self._worker.flush(timeout, callback)

    def _write(self, lines: list[str]) -> None:
        may_send.wait()
        time.sleep(float(os.environ.get("SENTRY_SECONDS", "0")))
        with ENVELOPES.open("a", buffering=1 << 20) as file:  # one write, which is whole
            file.writelines(f"{line}\n" for line in lines)


class Expected(Exception):
    pass


sentry_sdk.init(
    dsn="http://key@sentry.invalid/1",
    transport=Slow,
    integrations=[AmqtaskIntegration()],
    auto_enabling_integrations=False,  # they take a second of the processor's time
    traces_sample_rate=1.0,
    data_collection={"queues": True},
    server_name="here",
    shutdown_timeout=20,
)
app = Amqtask("crew", routing="routing.yaml")
for _ in range(2):
    logging.getLogger("crew").error("an error at import")


@app.task(name="divide")
def divide(number: int, tag: str = "") -> float:
    sentry_sdk.set_tag("set_by_task", tag)
    logging.getLogger("crew").warning("about to divide by %d for %s", number, tag)
    return 1 / number


@app.task(name="tell")
def tell(what: str) -> str:
    return what


@app.task(name="adivide")
async def adivide(number: int, tag: str = "") -> float:
    return divide(number, tag)


@app.task(name="die")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="hang", time_limit=0.3)
def hang() -> None:
    while True:
        time.sleep(0.01)


@app.task(name="expected")
def expected() -> None:
    raise Expected


expected.throws = (Expected,)  # type: ignore[attr-defined]


@signals.worker_ready.connect
def say(**_: Any) -> None:
    """From the I/O thread, before any task: nothing of Sentry's may be bound to it."""
    logging.getLogger("crew").error("an error of the I/O thread")
    may_send.set()


@signals.worker_process_init.connect
def begin(**_: Any) -> None:
    may_send.set()
