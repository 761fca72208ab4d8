"""The life of a prefork child: take jobs, run them one after the other, report. Owns nothing of the parent.

Signals: the parent decides about the end, so SIGINT, SIGQUIT and SIGHUP of a terminal or of a service manager do
nothing here. SIGTERM lets the running job finish, then the child ends and is replaced; its waiting jobs go elsewhere.
SIGKILL ends it at once, and its running job is run again. SIGUSR1 writes the stacks of all threads to stderr.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from amqtask.execution.job import Kind, Outcome
from amqtask.worker.pools._prefork_frames import Frame
from amqtask.worker.pools._prefork_pipe import ChildPipe, PipeTransport
from amqtask.worker.pools._prefork_values import plain_outcome

if TYPE_CHECKING:
    import socket

    from amqtask.app.app import Amqtask
    from amqtask.execution.executor import Executor
    from amqtask.execution.job import Job
    from amqtask.worker.pools._inner_transport import States
    from amqtask.worker.pools._prefork_cells import Cells

_LONG = 0.05
"""Seconds after which a running job no longer keeps results and other jobs waiting."""

_KEEPER_PAUSE_MAX = 1.0


class Child:
    """One child process; its main thread runs the jobs.

    Args:
        executor: runs one job.
        pipe: to the parent.
        cells: shared with the parent.
        slot: this child's number.
    """

    def __init__(self, executor: Executor, pipe: ChildPipe, cells: Cells, slot: int) -> None:
        self._executor, self._pipe, self._cells, self._slot = executor, pipe, cells, slot
        self._results: list[Outcome] = []
        self._report = threading.Lock()
        self._forked = False
        os.register_at_fork(after_in_child=self._on_fork)
        self._started = 0.0
        self._leave = False
        self._keeper: threading.Thread | None = None
        self._busy = threading.Event()

    def run(self) -> None:
        """Until the parent says so or is gone."""
        self._pipe.write(Frame.READY)
        while not self._leave:
            if not self._pipe.jobs:
                self._flush()
            job = self._pipe.wait_job()
            if job is None:
                break
            self._run(job)
        self._flush()

    def leave(self) -> None:
        """Signal handler: end after the running job, at once when there is none."""
        self._leave = True
        if not self._started and not self._results:
            os._exit(0)

    def _on_fork(self) -> None:
        self._forked = True

    def _run(self, job: Job) -> None:
        self._started = time.monotonic()
        if (self._results or self._pipe.jobs) and not self._busy.is_set():
            self._wake_keeper()
        self._cells.begin(self._slot, job.key)
        outcome = self._executor.run(job)
        if self._forked:
            os._exit(1)  # a fork that the task made and let slip; its outcome is not ours
        with self._report:
            self._results.append(plain_outcome(outcome))
        self._cells.end(self._slot)
        self._started = 0.0

    def _flush(self) -> None:
        with self._report:
            results, self._results = self._results, []
            if not results:
                return
            try:
                self._pipe.write(Frame.DONE, results)
            except (TypeError, ValueError, OverflowError):
                for result in results:
                    self._report_alone(result)

    def _report_alone(self, outcome: Outcome) -> None:
        try:
            self._pipe.write(Frame.DONE, [outcome])
        except (TypeError, ValueError, OverflowError) as error:
            self._pipe.write(Frame.DONE, [_unreportable(outcome, error)])

    def _wake_keeper(self) -> None:
        self._busy.set()
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="amqtask-keeper", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        """While a job takes long: report finished ones, and give back those behind it."""
        pause = _LONG
        while True:
            self._busy.wait()
            time.sleep(pause)
            started = self._started
            if not started:
                self._busy.clear()
            elif time.monotonic() - started >= _LONG:
                pause = min(pause * 2, _KEEPER_PAUSE_MAX)
                self._relieve()
                continue
            pause = _LONG

    def _relieve(self) -> None:
        self._flush()
        self._pipe.poll()
        keys = []
        while True:
            try:
                keys.append(self._pipe.jobs.pop().key)
            except IndexError:
                break
        if keys:
            self._pipe.write(Frame.BACK, keys[::-1])


def _unreportable(outcome: Outcome, error: Exception) -> Outcome:
    """What is left of an outcome that can't be written: headers of what follows from it hold odd values."""
    if outcome.headers is None and (outcome.after is None or not outcome.after.messages):
        return outcome
    what = "what follows from it" if outcome.headers is None else "the next attempt"
    text = f"{what} can't be sent: {error}"
    kind = (type(error).__qualname__, text, "")
    return Outcome(outcome.key, Kind.FAILED, text=text, error=kind)


def child_main(
    app: Amqtask, executor: Executor, states: States, cells: Cells, slot: int, sock: socket.socket
) -> NoReturn:
    """Everything between fork and exit of a child; never returns."""
    status = 1
    try:
        pipe = ChildPipe(sock)
        transport = PipeTransport(pipe)
        app.use_transport(transport)
        states.go_through(transport)
        child = Child(executor, pipe, cells, slot)
        _signals(child)
        child.run()
        status = 0
    except OSError:
        status = 0  # the parent is gone
    except BaseException:
        logging.getLogger("amqtask.worker").exception("child %d failed", os.getpid())
    finally:
        _exit(status)


def _signals(child: Child) -> None:
    # Handlers instead of SIG_IGN: programs that tasks start would inherit SIG_IGN.
    for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
        signal.signal(getattr(signal, name), lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: child.leave())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(RuntimeError, ValueError, AttributeError, OSError):  # stderr may be closed, or no file
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def _exit(status: int) -> NoReturn:
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
