"""Questions that cost something: asked once for all who want the answer, in a thread, with a bound to the waiting.

Owns that. An answer serves for a while; when the next one does not come, the last one does, with the reason beside it.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from amqtask import clock
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that somebody who asks waits for the answer."""

IMPATIENCE = 0.5
"""The same after a question that has failed: a page of a broker that is away is to come at once."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What is known.

    Attributes:
        value: the last answer; None before the first.
        error: why there is no newer one, in one line; None when it is fresh.
        asked: when it was asked for, in epoch seconds; None before the first.
    """

    value: T | None
    error: str | None
    asked: float | None


class Single(Generic[T]):
    """One question. Thread-safe.

    Args:
        ask: gets the answer; may block, and raise.
        life: seconds that an answer serves.
        patience: seconds that somebody waits for one that is on its way.
    """

    def __init__(self, ask: Callable[[], T], life: float, patience: float = PATIENCE) -> None:
        self._ask, self._life, self._patience = ask, life, patience
        self._lock = threading.Lock()
        self._known: Answer[T] = Answer(None, None, None)
        self._until = 0.0
        self._running: threading.Event | None = None
        self._deadline = 0.0
        self._changes = 0

    def get(self, *, anew: bool = False) -> Answer[T]:
        """The answer, within ``patience`` seconds; soon while one is on its way for longer, or has failed before.

        Args:
            anew: the last one does not serve; one that is on its way does.
        """
        with self._lock:
            if self._running is None:
                if not anew and clock.monotonic() < self._until:
                    return self._known
                self._running = threading.Event()
                patience = self._patience if self._known.error is None else IMPATIENCE
                self._deadline = clock.monotonic() + patience
                threading.Thread(target=self._run, args=(self._running,), name="amqtask-asking", daemon=True).start()
            running, left = self._running, self._deadline - clock.monotonic()
        if running.wait(max(0.0, left)):
            return self._known
        known = self._known
        return Answer(known.value, known.error or f"no answer within {self._patience:g} s", known.asked)

    def forget(self) -> None:
        """Ask anew the next time: something was changed."""
        with self._lock:
            self._until = 0.0
            self._changes += 1  # what is on its way may tell of the time before: it is asked once more
            self._deadline = clock.monotonic() + self._patience

    def _run(self, running: threading.Event) -> None:
        while True:
            changes, known = self._changes, self._asked()
            with self._lock:
                if changes == self._changes:
                    self._known, self._until, self._running = known, clock.monotonic() + self._life, None
                    running.set()
                    return

    def _asked(self) -> Answer[T]:
        now, known = clock.wall(), self._known
        try:
            return Answer(self._ask(), None, now)
        except AmqtaskError as error:
            return Answer(known.value, " ".join(str(error).split()), known.asked)
        except Exception as error:
            logger.exception("A question of the monitor has failed")
            return Answer(known.value, repr(error), known.asked)
