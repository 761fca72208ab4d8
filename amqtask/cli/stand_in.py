"""What remains of a worker that another process has taken over from, where somebody waits for the first one's end.

A container, a supervisor or a shell knows the process it has started and no other. So that process stays, as a small
one that does no more than hand signals on and end as the worker does: ``python -m amqtask.cli.stand_in PID FD``. Owns
these two. Each worker that takes over writes its process id to the pipe that FD reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals for the worker. They are blocked until they can be handed on."""


class StandIn:
    """Stands in for a worker.

    Args:
        worker: process id of the one that works.
        successors: descriptor with the ids of those that take over from it.
    """

    def __init__(self, worker: int, successors: int) -> None:
        self._worker, self._successors = worker, successors
        os.set_blocking(successors, False)

    def run(self) -> int:
        """Wait for the end; returns the last worker's exit code, 128 and the signal's number if one killed it."""
        adopt_orphans()
        for number in HANDED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hand_on)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                return 1  # it was no child of ours, or it is gone for long
            if pid == self._newest():
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code

    def _hand_on(self, number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._newest(), number)

    def _newest(self) -> int:
        with contextlib.suppress(BlockingIOError):
            while told := os.read(self._successors, 4096):
                self._worker = int(told.split()[-1])
        return self._worker


def adopt_orphans() -> None:
    """A worker's successor is its child, and has to become ours when that worker ends. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(StandIn(int(sys.argv[1]), int(sys.argv[2])).run())
