"""Drives the connection of threads while coroutines wait, for ``rpc://``. Owns the thread that does it."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Protocol

from amqtask.broker.fork_lock import ForkLock
from amqtask.errors import AmqtaskError

_REST = 10.0
"""Seconds after which a pump that nobody needs any more ends."""


class Pumped(Protocol):
    """What is needed of the backend."""

    def needs_pump(self) -> bool:
        """Do answers come to the blocking connection, so that somebody has to drive it for coroutines that wait?"""

    def pump(self, timeout: float) -> None:
        """Drive it for a while."""


class Pump:
    """Drives the blocking connection while only coroutines wait, in a program that has used both.

    Answers are spread over the consumers of the queue, and one of them may be a connection that no thread drives.
    """

    def __init__(self, backend: Pumped) -> None:
        self._backend = backend
        self._lock = ForkLock()
        self._users = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
        self.check()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1

    def check(self) -> None:
        """A coroutine begins to wait, or a thread that drove the connection has left it: is a pump needed?"""
        if not self._users or not self._backend.needs_pump():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="amqtask-replies", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            # those who wait get any error from their own connections
            with suppress(AmqtaskError):
                self._backend.pump(_REST)
            with self._lock:
                if not self._users or not self._backend.needs_pump():
                    self._thread = None
                    return
