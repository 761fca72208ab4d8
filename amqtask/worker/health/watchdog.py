"""Whether a worker proves that it works. Owns the parts of that proof, and the thread that watches the I/O loop.

    each interval    every consumed queue has a consumer, says the broker; the pool answers; steps see no problem
    any failure      a log line; the next success takes it back
    for too long     stacks to the log, work handed back, exit 75: something outside starts a fresh process
    the loop frozen  the same from a thread, without the loop: the broker has all messages back when the process ends

A broker that is away is no failure: the worker connects again by itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from amqtask import clock, unpatched
from amqtask.worker.process.stacks import stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amqtask.worker.looks import Look
    from amqtask.worker.process.threads import NewThread

EXIT = 75
"""Status of a process that wants to be started again."""


class Patience:
    """How long a proof has been failing (sans I/O).

    Args:
        timeout: seconds after which it has failed for good.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since: float | None = None

    def passed(self) -> bool:
        """The proof has succeeded. Returns whether it had failed before."""
        before, self._since = self._since, None
        return before is not None

    def failed(self) -> bool:
        """It has failed. Returns whether that is for good."""
        now = clock.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= self._timeout


def missing_consumers(found: Mapping[str, Look]) -> str:
    """What is wrong with queues that this worker consumes; nothing when it is empty."""
    names = [name for name, look in found.items() if not look.consumers]
    return f"the broker sees no consumer of {', '.join(names)}" if names else ""


class LoopGuard:
    """A thread that ends the process when its I/O loop does not turn any more.

    Args:
        call_soon: has the loop call back.
        interval: seconds between two looks.
        looks: this many in a row without a turn are too many; a process that was stopped meanwhile misses one only.
        leave: called before the end.
        new_thread: makes a real thread where gevent has made greenlets of them.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], None],
        interval: float,
        looks: int,
        leave: Callable[[], None],
        new_thread: NewThread = threading.Thread,
    ) -> None:
        self._call_soon, self._interval, self._looks, self._leave = call_soon, interval, looks, leave
        self._turned = False
        self._ended = unpatched.Bell()
        self._deadline: float | None = None
        self._thread = new_thread(target=self._run, name="amqtask-watchdog", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more: the loop ends."""
        self._ended.ring()

    def expect_end(self, seconds: float) -> None:
        """The process is ending: see that it has ended after this many seconds."""
        self._deadline = clock.monotonic() + seconds

    def _run(self) -> None:
        missed = 0
        while True:
            self._turned = False
            self._call_soon(self._tick)
            if self._ended.wait(self._interval):
                return
            missed = 0 if self._turned else missed + 1
            if missed >= self._looks:
                self._exit("the I/O loop does not turn any more")
            if self._deadline is not None and clock.monotonic() > self._deadline:
                self._exit("the end takes too long")

    def _tick(self) -> None:
        self._turned = True

    def _exit(self, reason: str) -> None:
        """Without logging, whose lock the frozen loop may hold."""
        with contextlib.suppress(OSError):
            os.write(2, f"amqtask watchdog: {reason}; ending the process\n".encode(errors="replace"))
        with contextlib.suppress(Exception):  # whatever state the process is in, it has to end
            os.write(2, f"{stacks()}\n".encode(errors="replace"))
        self._leave()
        os._exit(EXIT)
