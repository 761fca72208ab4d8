"""The app of ``amqtask demo``: three tasks, two queues, and what a worker reports about them, told as a story.

Owns tasks, queues and wording. Everything it declares on a broker has a name that begins with ``amqtask.demo``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.app.app import Amqtask
from amqtask.topology.declarations import Queue, RetryPolicy, Route

if TYPE_CHECKING:
    from amqtask.tasks.task import Task

MAIL, FILES = "amqtask.demo.mail", "amqtask.demo.files"
_RETRY = RetryPolicy(delays=(timedelta(milliseconds=300),), max_retries=2)


CALLS = (
    ("demo.mail.welcome", "ada@example.org"),
    ("demo.mail.remind", "grace@example.org"),
    ("demo.files.checksum", os.__file__),
    ("demo.files.checksum", "/nowhere/missing.txt"),
    ("demo.mail.welcome", "alan@example.org"),
)
"""What is sent: task and argument. The reminder fails once, the missing file can't be read at all."""


def new_app() -> Amqtask:
    """The app, with its tasks, and its topology in code."""
    app = Amqtask(
        "demo",
        task_queues=[Queue(MAIL, retry=_RETRY), Queue(FILES)],
        task_routes=[Route("demo.mail.*", queue=MAIL), Route("demo.files.*", queue=FILES)],
    )
    app.conf.routing = None  # AMQTASK_ROUTING is about other apps

    @app.task(name="demo.mail.welcome")
    def welcome(address: str) -> str:
        return f"welcomed {address}"

    @app.task(name="demo.mail.remind", bind=True)
    def remind(self: Task[..., Any], address: str) -> str:
        if not self.request.retries:
            raise ConnectionError("the mail server is busy")
        return f"reminded {address}"

    @app.task(name="demo.files.checksum")
    def checksum(path: str) -> str:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]

    return app


class Story(logging.Handler):
    """Prints what a worker logs about tasks as a line with the time since the program began.

    Attributes:
        counts: events by name: ``task-succeeded``, ``task-retried``, ``task-failed``.
        first: seconds from the beginning until the first task was done, or None.
        over: set when every call has ended.

    Args:
        begin: wall clock time.
        calls: how many are sent.
    """

    def __init__(self, begin: float, calls: int) -> None:
        super().__init__(logging.INFO)
        self.over = threading.Event()
        self._calls = calls
        self.counts: Counter[str] = Counter()
        self.first: float | None = None
        self._begin = begin

    def tell(self, what: str, text: str) -> None:
        """Print a line."""
        print(f"{self.elapsed:6.2f} s  {what:<11} {text}", flush=True)

    def emit(self, record: logging.LogRecord) -> None:
        """A line for each task that has ended, or will be tried again."""
        event = str(getattr(record, "event", ""))
        arguments = record.args if isinstance(record.args, tuple) else ()
        if event == "task-succeeded":
            self.first = self.first or self.elapsed
            self.tell("done", f"{arguments[0]}: {arguments[3]}")
        elif event == "task-retried":
            self.tell("retry", f"{arguments[0]} failed ({arguments[4]}); again in {arguments[3]} s")
        elif event == "task-failed":
            self.tell("dead letter", f"{arguments[0]} failed for good: {arguments[4]}")
        self.counts[event] += 1
        if self.counts["task-succeeded"] + self.counts["task-failed"] == self._calls:
            self.over.set()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return clock.wall() - self._begin


def process_start() -> float:
    """When this process began, as wall clock time; where the system does not tell, now."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return clock.wall()
    return clock.wall() - age
