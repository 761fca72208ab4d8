"""A client and a worker, one of Celery and one of amqtask, that run the same program (:mod:`interop_shop`)."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from interop_shop import make_app, module_of
from kombu import pools
from nodes import Node
from waiting import wait_for

from amqtask.app.dead import DeadLetters
from amqtask.broker.admin import Admin
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.wire.message import Outgoing, Properties

SECONDS = 60
READY = {"celery": " ready.", "amqtask": " ready, consuming "}

QUIET = [
    pytest.mark.filterwarnings(f"ignore::{warning}")
    for warning in (
        "DeprecationWarning",
        "PendingDeprecationWarning",
        "ResourceWarning",
        "pytest.PytestUnraisableExceptionWarning",
    )
]
"""What Celery's clients are full of."""


def close_celery(app: Any) -> None:
    """Close a Celery client, its connection for results included, and let the collector close the rest in silence."""
    consumer = getattr(app.backend, "result_consumer", None)
    if getattr(consumer, "_consumer", None) is not None:
        consumer.stop()
    app.close()
    pools.reset()  # they outlive their apps
    collect()


def collect() -> None:
    """Let the collector close what Celery's clients have left open, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def subscribe_before_looking(app: Any) -> None:
    """Have a Celery client on Redis look for a result only when it is subscribed to the news.

    It subscribes on one connection and looks on another; a busy Redis may do what came later first. A result that is
    stored in between is neither seen nor heard by the client, which waits for ever.
    """
    consumer = app.backend.result_consumer
    look = consumer.on_wait_for_pending

    def subscribed() -> bool:
        return all(count for _, count in app.backend.client.pubsub_numsub(*consumer.subscribed_to))

    def look_when_subscribed(result: Any, **more: Any) -> None:
        wait_for(subscribed)
        look(result, **more)

    consumer.on_wait_for_pending = look_when_subscribed


class ShopWorker:
    """A worker of one side, as a process of its own."""

    def __init__(self, side: str, pool: str, url: str, backend: str, folder: Path, *words: str) -> None:
        self.side, self.log = side, folder / f"{side}-{pool}.log"
        self.notes = folder / "notes"
        command = ["-A", "interop_shop", "worker"] if side == "celery" else ["worker", "-A", "interop_shop"]
        env = {
            "SIDE": side,
            "BROKER_URL": url,
            "BACKEND": backend,
            "SHOP_NOTES": str(self.notes),
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONFAULTHANDLER": "",
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", side, *command, "-P", pool, "-c", "2", "-l", "info", *words],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        wait_for(lambda: self.process.poll() is not None or READY[self.side] in self.text(), SECONDS)
        assert self.process.poll() is None, self.text()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def noted(self) -> list[str]:
        return self.notes.read_text().split("\n")[:-1] if self.notes.exists() else []

    def close(self) -> None:
        """End it as an operator does, or by force."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Client:
    """The client's side of the program."""

    def __init__(self, side: str, url: str, backend: str) -> None:
        self.side = side
        self.app = make_app(side, url, backend)
        if side == "celery" and backend.startswith("redis"):
            subscribe_before_looking(self.app)
        self.module: ModuleType = module_of(side)
        self.exceptions = module_of(side, "exceptions")

    def sig(self, name: str, *args: Any, **options: Any) -> Any:
        """A signature of one of the program's tasks."""
        return self.app.tasks[f"shop.{name}"].signature(args, **options)

    def close(self) -> None:
        """Let go of connections: Celery leaves some to the collector."""
        if self.side == "celery":
            close_celery(self.app)
        else:
            self.app.close()


class Pair:
    """A client, and a worker of the other side."""

    def __init__(self, url: str, backend: str, client: Client, worker: ShopWorker) -> None:
        self.url, self.backend, self.client, self.worker = url, backend, client, worker
        self.sig, self.app, self.module = client.sig, client.app, client.module
        self.exceptions = client.exceptions
        self._admin = Admin(parse_urls(url), ConnectionOptions(name="test"))

    def put(self, body: bytes, properties: Properties, queue: str = "celery") -> None:
        """Publish a message of any shape."""
        self._admin.publish(Outgoing("", queue, properties, body))

    def dead(self, queue: str = "celery") -> DeadLetters:
        return DeadLetters(self._admin, queue)

    def ready(self, queue: str) -> int:
        """Messages that wait there; -1: there is no such queue."""
        state = self._admin.queue_state(queue)
        return -1 if state is None else state.ready

    def wait(self, condition: Callable[[], Any]) -> None:
        try:
            wait_for(condition, SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.worker.text()[-6000:]}") from None

    def close(self) -> None:
        self.client.close()
        self._admin.close()


def declare_as_celery(url: str, *queues: str) -> None:
    """What a Celery program leaves on a broker, declared by Celery itself."""
    from celery import Celery

    app = Celery("first", broker=url)
    with app.connection_for_write() as connection:
        for name in ("celery", *queues):
            app.amqp.queues[name].bind(connection.default_channel).declare()
    close_celery(app)


@contextmanager
def paired(node: Node, folder: Path, client: str, worker: str, pool: str, backend: str) -> Iterator[Pair]:
    """A pair on a vhost of its own, in which Celery has been before."""
    vhost = f"interop-{os.urandom(6).hex()}"
    url = node.add_vhost(vhost)
    declare_as_celery(url)
    process = ShopWorker(worker, pool, url, backend, folder)
    try:
        process.wait_ready()
        pair = Pair(url, backend, Client(client, url, backend), process)
        try:
            yield pair
        finally:
            pair.close()
    finally:
        process.close()
        node.delete_vhost(vhost)
