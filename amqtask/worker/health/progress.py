"""Finding out that work waits and nothing gets done (sans I/O). Owns the rule and the alarm's wording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Mapping


class Progress:
    """One alarm per standstill: messages wait, or are held here, and nothing has ended for this long.

    Args:
        after: seconds.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._since = clock.monotonic()
        self._told = False

    def made(self) -> None:
        """A task has ended."""
        self._since, self._told = clock.monotonic(), False

    def alarm(self, waiting: Mapping[str, int], held: int) -> str | None:
        """The alarm's text, when it is due.

        Args:
            waiting: messages per queue that this worker consumes.
            held: messages this worker has.
        """
        total = sum(waiting.values())
        if not total and not held:
            self.made()  # nothing to do: the wait begins with the next message
            return None
        if self._told or clock.monotonic() - self._since < self._after:
            return None
        self._told = True
        queues = ", ".join(f"{name} ({count})" for name, count in waiting.items() if count) or "none"
        return f"no task has ended for {self._after:g} s: {total} messages wait in {queues}, {held} are held here"
