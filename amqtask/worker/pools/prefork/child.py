"""The life of a prefork child: take jobs, run them one after the other, report. Owns nothing of the parent.

Signals: the parent decides about the end, so SIGINT, SIGQUIT and SIGHUP of a terminal or of a service manager do
nothing here. SIGTERM lets the running job finish, then the child ends and is replaced; its waiting jobs go elsewhere.
Any of them ends a child at once whose running job the parent wants to be rid of (it was revoked). SIGKILL ends it at
once, and its running job is run again. SIGUSR1 writes the stacks of all threads to stderr. SIGURG, which nobody else
uses and everybody ignores, says that the soft time limit has passed, or that jobs wait behind one that takes long.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from amqtask.errors import SoftTimeLimitExceeded
from amqtask.execution.job import Kind, Outcome
from amqtask.signals import worker_process_init, worker_process_shutdown
from amqtask.worker.pools.prefork.frames import Frame
from amqtask.worker.pools.prefork.pipe import ChildPipe, PipeTransport
from amqtask.worker.pools.prefork.stops import NUDGE
from amqtask.worker.pools.prefork.values import plain_outcome
from amqtask.worker.process.memory import own_resident
from amqtask.worker.process.titles import set_title, shown, title

if TYPE_CHECKING:
    import socket

    from amqtask.app.app import Amqtask
    from amqtask.execution.executor import Executor
    from amqtask.execution.job import Job
    from amqtask.worker.pools._inner_transport import States
    from amqtask.worker.pools.prefork.cells import Cells
    from amqtask.worker.pools.prefork.window import TaskWindow

_LONG = 0.05
"""Seconds after which a running job no longer keeps results and other jobs waiting."""

_KEEPER_PAUSE_MAX = 1.0

_VERDICT = 0.001
"""Seconds between looks for a pardon of a job that ended when it was about to be stopped; one comes, or a signal."""


@dataclass(frozen=True, slots=True)
class Heritage:
    """What is made before the first fork, for all children.

    Attributes:
        app: the application.
        hostname: the worker's node name.
        executor: runs one job, in ``window``.
        window: where the soft time limit may hit.
        states: of running tasks; go to the parent.
        cells: shared with the parent.
        memory_max: KiB of resident memory over which a child wants to be replaced, if any.
    """

    app: Amqtask
    hostname: str
    executor: Executor
    window: TaskWindow
    states: States
    cells: Cells
    memory_max: int | None


class Left(BaseException):
    """An idle child was told to end."""


class Child:
    """One child process; its main thread runs the jobs.

    Args:
        heritage: what all children share.
        pipe: to the parent.
        slot: this child's number.
    """

    def __init__(self, heritage: Heritage, pipe: ChildPipe, slot: int) -> None:
        self._executor, self._window, self._cells = heritage.executor, heritage.window, heritage.cells
        self._pipe, self._slot, self._memory_max = pipe, slot, heritage.memory_max
        self._hostname = heritage.hostname
        self._key: int | None = None
        self._softened: int | None = None
        self._results: list[Outcome] = []
        self._report = threading.Lock()
        self._forked = False
        os.register_at_fork(after_in_child=self._on_fork)
        self._started = 0.0
        self._leave = self._idle = False
        self._keeper: threading.Thread | None = None
        self._busy = threading.Event()

    def run(self) -> None:
        """Until the parent says so or is gone."""
        self._pipe.write(Frame.READY)
        while not self._leave:
            if not self._pipe.jobs:
                self._flush()
                self._show("idle")
                self._idle = True
            job = self._next_job()
            if job is None:
                break
            if shown() and not self._pipe.jobs:  # nobody can read the titles of many short ones
                self._show(f"{job.headers.get('task')} since {time.strftime('%H:%M:%S')}")
            self._run(job)
        self._flush()

    def _next_job(self) -> Job | None:
        """None when there will be none."""
        try:
            return None if self._leave else self._pipe.wait_job()
        finally:
            self._idle = False

    def _show(self, activity: str) -> None:
        with contextlib.suppress(ValueError):  # a client may call a task anything
            set_title(title(self._hostname, activity))

    def end(self, number: int, _frame: object) -> None:
        """Signal handler: end at once if the parent wants to be rid of the running job."""
        if self._key is not None and self._cells.condemned(self._slot) == self._key and not self._forked:
            os._exit(128 + number)

    def nudge(self, _number: int, _frame: object) -> None:
        """Signal handler: give back what waits; interrupt the running job, if the parent means that one; once."""
        if self._window.calm:  # then this thread holds no lock of the pipe
            with self._pipe.shield:
                self._relieve()
        key = self._key
        if key is not None and key != self._softened and self._cells.interrupted(self._slot) == key:
            self._softened = key
            if not self._window.interrupt(SoftTimeLimitExceeded("the soft time limit has passed")):
                self._softened = None  # it has not reached the task yet; the parent says so again

    def leave(self, number: int, frame: object) -> None:
        """Signal handler: the same, otherwise end after the running job; at once when there is none."""
        self.end(number, frame)
        self._leave = True
        if self._idle:
            self._idle = False
            raise Left

    def _on_fork(self) -> None:
        self._forked = True

    def _run(self, job: Job) -> None:
        self._started = time.monotonic()
        if (self._results or self._pipe.jobs) and not self._busy.is_set():
            self._wake_keeper()
        self._key = job.key
        self._cells.begin(self._slot, job.key)
        outcome = self._executor.run(job)
        self._window.__exit__()  # left already, unless an interruption has hit the way out
        if self._forked:
            os._exit(1)  # a fork that the task made and let slip; its outcome is not ours
        with self._report:
            self._results.append(plain_outcome(outcome))
            self._cells.end(self._slot)
        if self._cells.condemned(self._slot) == job.key:
            self._flush()
            while self._cells.condemned(self._slot) == job.key:
                time.sleep(_VERDICT)  # in shared memory nobody rings
        self._key = None
        self._started = 0.0
        if self._memory_max is not None and (held := own_resident()) > self._memory_max:
            self._pipe.write(Frame.FULL, held)
            self._memory_max = None

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


def child_main(heritage: Heritage, slot: int, sock: socket.socket) -> NoReturn:
    """Everything between fork and exit of a child; never returns."""
    status = 1
    try:
        pipe = ChildPipe(sock)
        transport = PipeTransport(pipe)
        heritage.app.use_transport(transport)
        heritage.states.go_through(transport)
        heritage.window.go_behind(pipe.shield)
        child = Child(heritage, pipe, slot)
        _signals(child)
        worker_process_init.send(None)
        heritage.app.trace()
        child.run()
        status = 0
    except (OSError, Left):
        status = 0  # OSError: the parent is gone
    except BaseException:
        logging.getLogger("amqtask.worker").exception("child %d failed", os.getpid())
    finally:
        worker_process_shutdown.send(None, pid=os.getpid(), exitcode=status)
        _exit(status)


def _signals(child: Child) -> None:
    # Handlers instead of SIG_IGN: programs that tasks start would inherit SIG_IGN.
    for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
        signal.signal(getattr(signal, name), child.end)
    signal.signal(signal.SIGTERM, child.leave)
    signal.signal(NUDGE, child.nudge)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, lambda *_: None)  # where the stacks can't be written, nothing must happen
    with contextlib.suppress(RuntimeError, ValueError, AttributeError, OSError):  # stderr may be closed, or no file
        faulthandler.register(signal.SIGUSR1, all_threads=True)


def _exit(status: int) -> NoReturn:
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
