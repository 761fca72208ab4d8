"""What each child is running, in memory shared with the parent: the one thing that survives a SIGKILL.

Owns the layout: 16 bytes per slot, the job's key plus one (0: none) and the start in monotonic nanoseconds.
"""

from __future__ import annotations

import mmap
import time

_WORDS = 2


class Cells:
    """An anonymous shared map, made before the first fork. Each slot has one writer, its child."""

    def __init__(self, slots: int) -> None:
        self._words = memoryview(mmap.mmap(-1, slots * _WORDS * 8)).cast("q")

    def begin(self, slot: int, key: int) -> None:
        """In the child: the job starts."""
        self._words[slot * _WORDS + 1] = time.monotonic_ns()
        self._words[slot * _WORDS] = key + 1

    def end(self, slot: int) -> None:
        """In the child: nothing runs; in the parent: forget a dead child's job."""
        self._words[slot * _WORDS] = 0

    def running(self, slot: int) -> int | None:
        """Key of the job that the slot's child runs, or ran when it died."""
        return self._words[slot * _WORDS] - 1 if self._words[slot * _WORDS] else None
