"""Makes sure that signal handlers run. Owns the wake-up of a main thread that has gone to sleep a moment too early.

Python runs handlers on the main thread, when that next executes Python code. A signal that arrives just before the main
thread begins to wait for a lock does not end that wait: its handler would run with the next signal, or never. So the
I/O loop hears of every signal too, and a moment later interrupts the main thread, which then finds what is pending.
"""

from __future__ import annotations

import contextlib
import signal
from _socket import socketpair  # of the module socket's, gevent makes some that belong to one thread
from typing import TYPE_CHECKING, Any

from amqtask import unpatched

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop

_NUDGE = signal.SIGURG
"""Ignored by default. Pools use it too: a call of their handler without a reason does nothing."""

_PAUSE = 0.02
"""Seconds in which the main thread has surely begun to wait."""


class SignalWakeup:
    """From :meth:`install` to :meth:`remove`, both on the main thread.

    Args:
        loop: of the I/O thread; may start later.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._reader, self._writer = socketpair()
        self._previous: Any = signal.SIG_DFL
        self._before = -1
        self._main = unpatched.thread_ident()

    def install(self) -> None:
        """Hear of signals from now on."""
        for one in (self._reader, self._writer):
            one.setblocking(False)
        self._previous = signal.signal(_NUDGE, lambda *_: None)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._loop.watch(self._reader.fileno(), self._heard)

    def _heard(self) -> None:
        numbers = b""
        with contextlib.suppress(BlockingIOError):
            numbers = self._reader.recv(4096)
        if set(numbers) - {_NUDGE}:
            self._loop.call_later(_PAUSE, self._nudge)

    def _nudge(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pthread_kill(self._main, _NUDGE)

    def remove(self) -> None:
        """The loop has ended."""
        signal.set_wakeup_fd(self._before)
        signal.signal(_NUDGE, self._previous)
        self._reader.close()
        self._writer.close()
