"""The application of the soaks: tasks that leave a mark in a file. Run by ``amqtask worker -A soaks.soak_app``."""

from __future__ import annotations

import os
import time

from amqtask import Amqtask

app = Amqtask("soaks", broker=os.environ.get("BENCH_BROKER", "amqp://"))
_marks: dict[int, int] = {}


def _file() -> int:
    """This process's descriptor of the file of marks; a line of eight bytes is appended at once or not at all."""
    if os.getpid() not in _marks:
        _marks[os.getpid()] = os.open(os.environ["SOAK_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return _marks[os.getpid()]


@app.task
def nothing() -> None:
    """Do nothing."""


@app.task
def mark_child(number: int, seconds: float) -> None:
    """Leave a mark with this process, after a while."""
    time.sleep(seconds)
    os.write(_file(), b"%7d %7d\n" % (number, os.getpid()))


@app.task
def mark(number: int, seconds: float = 0.0) -> None:
    """Leave a mark, after a while."""
    if seconds:
        time.sleep(seconds)
    os.write(_file(), b"%7d\n" % number)
