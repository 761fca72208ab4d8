"""Counts and times what tasks do, in shared memory: some hundred nanoseconds a task, the same for every peer.

The file named by ``BENCH_COUNTER`` holds 2,048 counters, each written by one thread only (so no count is ever
lost to a race), and after them 4,096 moments, one per numbered task (``time.monotonic_ns``, which all
processes of a machine share).
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from pathlib import Path

COUNTERS = 2048
MOMENTS = 4096
_BYTES = 8 * (COUNTERS + MOMENTS)

_cells: memoryview | None = None
_own = threading.local()


def create(path: Path) -> None:
    """Make the file, all zeros, and let this process and its children use it."""
    path.write_bytes(bytes(_BYTES))
    os.environ["BENCH_COUNTER"] = str(path)


def _open() -> memoryview:
    global _cells  # noqa: PLW0603 -- one mapping per process
    if _cells is None:
        with Path(os.environ["BENCH_COUNTER"]).open("r+b") as file:
            _cells = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")
    return _cells


def done() -> None:
    """One more task is done; called by the task itself."""
    try:
        cell = _own.cell
    except AttributeError:
        _open()
        # thread ids follow each other, so the threads of one run never meet in a cell
        cell = _own.cell = threading.get_native_id() % COUNTERS
    _cells[cell] += 1


def moment(number: int) -> None:
    """Note the time; called in the first line of a numbered task."""
    now = time.monotonic_ns()
    _open()[COUNTERS + number] = now


def moment_of(number: int) -> int:
    """When the numbered task ran, or 0."""
    return _open()[COUNTERS + number]


def total() -> int:
    """Tasks done since :func:`clear`, by all processes."""
    return sum(_open()[:COUNTERS])


def clear() -> None:
    """Set counts and moments to zero; nobody may be counting."""
    _open()[:] = memoryview(bytes(_BYTES)).cast("Q")


def _forget() -> None:
    """A forked child counts in cells of its own."""
    global _own  # noqa: PLW0603
    _own = threading.local()


os.register_at_fork(after_in_child=_forget)
