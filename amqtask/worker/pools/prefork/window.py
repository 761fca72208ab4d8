"""Where a soft time limit may hit a prefork child: in the task, and not in the middle of what it asks of the parent.

Owns the window of the running job and the shield over the pipe. Both are for the child's main thread, on which tasks
run and signals are handled; for other threads they do nothing.
"""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING, Any

from amqtask.execution.interruptible import Interruptible

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable

    from amqtask.execution.job import Job

_PATIENCE = 0.05
"""Seconds between looks for an interruption while another thread of the task reads the pipe."""


class Shield:
    """Holds an interruption back while it is entered; may be entered again. Then the interruption is raised."""

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._depth = 0
        self.due: BaseException | None = None
        """What is held back; nothing is left over from the last job when a new one clears it."""

    def holds_back(self, error: BaseException) -> bool:
        """In the signal handler: keep the interruption for later, if it can't be raised now."""
        if self._depth:
            self.due = error
        return self._depth > 0

    @property
    def entered(self) -> bool:
        """Whether the main thread holds interruptions back."""
        return self._depth > 0

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main:
            self._depth -= 1
            if not self._depth and self.due is not None:
                self.let_through()

    def let_through(self) -> None:
        """Raise what was held back, if anything: at this place it does no harm."""
        error, self.due = self.due, None
        if error is not None:
            raise error

    @property
    def patience(self) -> float | None:
        """How long this thread may wait before it calls :meth:`let_through`."""
        return _PATIENCE if threading.get_ident() == self._main else None

    def wait_readable(self, sock: socket.socket) -> None:
        """Wait until there is something to read; an interruption may be raised here, and nothing is lost then."""
        if threading.get_ident() != self._main:
            return
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        depth, self._depth = self._depth, 0
        try:
            self.let_through()
            poll.poll()
        finally:
            self._depth = depth


class TaskWindow:
    """Implements :class:`amqtask.execution.window.Window`, for one job after the other."""

    def __init__(self) -> None:
        self._shield = Shield()
        self._open = False
        self._coroutine: Interruptible | None = None

    def go_behind(self, shield: Shield) -> None:
        """In the child: heed this shield, the one of its pipe."""
        self._shield = shield

    def of(self, _job: Job) -> TaskWindow:
        """The window of this job."""
        return self

    def __enter__(self) -> None:
        self._coroutine = self._shield.due = None
        self._open = True

    def __exit__(self, *_: object) -> None:
        self._open = False

    def awaiting(self, coroutine: Awaitable[Any]) -> Awaitable[Any]:
        """What to await instead of the coroutine."""
        self._coroutine = Interruptible(coroutine)
        return self._coroutine

    @property
    def calm(self) -> bool:
        """Whether a task runs, and not in the middle of what it asks of the parent."""
        return self._open and not self._shield.entered

    def interrupt(self, error: BaseException) -> bool:
        """In a signal handler: raise this in the task, at once or soon.

        Returns:
            False when no task runs, True when it will be raised soon.
        """
        if not self._open:
            return False
        if self._shield.holds_back(error):
            return True
        if self._coroutine is None or not self._coroutine.interrupt_from_signal(error):
            raise error
        return True
