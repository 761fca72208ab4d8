"""The logical clock of a node (Lamport's): orders what several machines do without a common time. Owns the counting.

Celery's events and remote control carry its value; a message that comes in moves the clock past its sender's.
"""

from __future__ import annotations

from threading import Lock

_LARGEST = 2**53
"""Above it a value is no clock but somebody's mistake: it would be rounded by whoever reads JSON as floats."""


class LamportClock:
    """A counter that only grows. Thread-safe."""

    def __init__(self) -> None:
        self._value = 0
        self._lock = Lock()

    @property
    def value(self) -> int:
        """What the last :meth:`tick` or :meth:`adjust` returned."""
        return self._value

    def tick(self) -> int:
        """Something happens here: move on by one and return the new value."""
        with self._lock:
            self._value += 1
            return self._value

    def adjust(self, other: object) -> int:
        """Something has come from another node: move past its clock and return the new value.

        Args:
            other: what the message says; anything but a possible clock counts as nothing.
        """
        seen = other if isinstance(other, int) and 0 <= other < _LARGEST else 0
        with self._lock:
            self._value = max(self._value, seen) + 1
            return self._value
