"""The broker that everything is measured on: its address, its CPU time, its queues and connections.

It is the one of ``AMQTASK_BROKER_URL``, or a private node that ``scripts/rabbitmq`` starts and stops again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "rabbitmq"


class Node:
    """A running broker. ``state`` is the private node's folder, None for a given broker."""

    def __init__(self, url: str, state: str | None = None) -> None:
        self.url, self._state = url, state
        self.pid = _listener(pika.URLParameters(url).port)

    def cpu(self) -> float:
        """CPU seconds the broker has used so far; NaN when it runs elsewhere."""
        if self.pid is None:
            return float("nan")
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of the harness's own, for a moment."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()

    def version(self) -> str:
        with self.channel() as channel:
            return channel.connection._impl.server_properties["version"]

    def depth(self, queue: str) -> int:
        """Messages ready for delivery; 0 when there is no such queue."""
        try:
            with self.channel() as channel:
                return channel.queue_declare(queue, passive=True).method.message_count
        except pika.exceptions.ChannelClosedByBroker:
            return 0

    def await_depth(self, queue: str, wanted: int, seconds: float = 15) -> int:
        """Wait until the queue holds at least so many; returns what it holds."""
        deadline = time.monotonic() + seconds
        while (depth := self.depth(queue)) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        return depth

    def delete(self, *queues: str) -> None:
        with self.channel() as channel:
            for queue in queues:
                channel.queue_delete(queue)

    def connections(self) -> int | None:
        """Open client connections as the broker counts them; None when it isn't a private node."""
        if self._state is None:
            return None
        return len(self.ctl("list_connections", "-q", "--no-table-headers", "pid").split())

    def ctl(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` answers; only on a private node."""
        command = [sys.executable, _SCRIPT, "ctl", "--state", str(self._state), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _listener(port: int) -> int | None:
    """The process that listens on this port of this machine, as far as we may see it."""
    try:
        for socket in psutil.net_connections("tcp"):
            if socket.status == psutil.CONN_LISTEN and socket.laddr.port == port:
                return socket.pid
    except psutil.AccessDenied:
        pass
    return None


@contextlib.contextmanager
def running() -> Iterator[Node]:
    """The broker to measure on; a private one exists only for the duration."""
    if url := os.environ.get("AMQTASK_BROKER_URL"):
        yield Node(url)
        return
    state = tempfile.mkdtemp(prefix="amqtask-benchmark-")
    command = [sys.executable, _SCRIPT]
    try:
        plugins = "rabbitmq_consistent_hash_exchange"  # no management: its statistics cost CPU
        subprocess.run(
            [*command, "start", "--private", "--state", state, "--plugins", plugins],
            check=True,
            stdout=subprocess.PIPE,
        )
        url = subprocess.run([*command, "url", "--state", state], check=True, capture_output=True, text=True).stdout
        yield Node(url.strip(), state)
    finally:
        subprocess.run([*command, "stop", "--purge", "--state", state], check=False)
        shutil.rmtree(state, ignore_errors=True)
