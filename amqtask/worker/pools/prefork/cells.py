"""What each child is running, in memory shared with the parent: the one thing that survives a SIGKILL.

Owns the layout: 32 bytes per slot. The child writes the job's key plus one (0: none) and its start in monotonic
nanoseconds, or while there is none the end of the last one; the parent writes the key plus one of the job that it is
about to kill the child for, and of the job that the child has to interrupt.

To kill a child for a job that ends at that moment would hit the next one. So the parent writes the first of its words,
then looks whether the job still runs; the child writes that its job has ended, then looks whether it was condemned,
and if so waits for the end, or a pardon, instead of going on. At least one of them sees the other.
"""

from __future__ import annotations

import mmap
import threading
import time

MOST_SLOTS = 4096
"""Slots a map has room for; pages that are never touched cost nothing."""

_WORDS = 4
_KEY, _MOVED, _CONDEMNED, _INTERRUPTED = range(_WORDS)


class Cells:
    """An anonymous shared map, made before the first fork. Each word has one writer."""

    def __init__(self, slots: int = MOST_SLOTS) -> None:
        self._words = memoryview(mmap.mmap(-1, slots * _WORDS * 8)).cast("q")
        self._fence = threading.Lock()

    # -- in the child

    def begin(self, slot: int, key: int) -> None:
        """The job starts."""
        self._words[slot * _WORDS + _MOVED] = time.monotonic_ns()
        self._words[slot * _WORDS] = key + 1

    def end(self, slot: int) -> None:
        """Nothing runs."""
        self._words[slot * _WORDS + _MOVED] = time.monotonic_ns()  # first: who finds no job has to find its end
        self._words[slot * _WORDS] = 0

    def condemned(self, slot: int) -> int | None:
        """Key of the job that the parent is about to kill the child for."""
        value = self._words[slot * _WORDS + _CONDEMNED]
        return value - 1 if value else None

    def interrupted(self, slot: int) -> int | None:
        """Key of the job that is to be interrupted."""
        return self._read(slot, _INTERRUPTED)

    # -- in the parent

    def running(self, slot: int) -> int | None:
        """Key of the job that the slot's child runs, or ran when it died."""
        return self._read(slot, _KEY)

    def started(self, slot: int) -> tuple[int, float] | None:
        """The same, and when it started, in monotonic seconds."""
        base = slot * _WORDS
        while key := self._words[base]:
            started = self._words[base + _MOVED]
            if self._words[base] == key:  # else the next one has begun meanwhile
                return key - 1, started / 1e9
        return None

    def moved(self, slot: int) -> float:
        """When the child last began or ended a job, in monotonic seconds; 0: not yet."""
        return self._words[slot * _WORDS + _MOVED] / 1e9

    def condemn(self, slot: int, key: int) -> bool:
        """Whether the child may be killed for this job: it runs, and will not be followed by another one."""
        self._words[slot * _WORDS + _CONDEMNED] = key + 1
        with self._fence:  # what was written above is seen by the child before what is read below is read
            pass
        if self.running(slot) == key:
            return True
        self.pardon(slot)
        return False

    def pardon(self, slot: int) -> None:
        """The child may go on."""
        self._words[slot * _WORDS + _CONDEMNED] = 0

    def interrupt(self, slot: int, key: int) -> None:
        """Let the child interrupt this job when it is signalled."""
        self._words[slot * _WORDS + _INTERRUPTED] = key + 1

    def clear(self, slot: int) -> None:
        """The child is dead: forget its job and what was meant for it."""
        for word in range(_WORDS):
            self._words[slot * _WORDS + word] = 0

    def _read(self, slot: int, word: int) -> int | None:
        value = self._words[slot * _WORDS + word]
        return value - 1 if value else None
