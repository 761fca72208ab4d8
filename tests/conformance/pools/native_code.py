"""Code outside of Python, where neither signals nor exceptions can end it. It ends when the test says so. For tests."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class NativeCode:
    """What keeps a thread outside of Python.

    Args:
        path: of a pipe, which is made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        os.mkfifo(path)

    def run(self) -> None:
        """Return when :meth:`end` is called, in whatever process."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            os.close(os.open(self._path, os.O_RDONLY))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def end(self) -> None:
        """Let it go on, if it runs."""
        with suppress(OSError):  # nobody reads
            os.close(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))
