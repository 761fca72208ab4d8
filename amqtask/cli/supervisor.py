"""Runs one process per pool and keeps them running: start, output, restart, signals, end.

Owns the tree of processes; knows nothing of what they do. Everything happens in one thread that sleeps until
a child writes or ends, a signal arrives or a restart is due.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, cast

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a child that died is started again: doubled each time, up to the longest."""

SETTLED = 60.0
"""Seconds after which a child counts as running well: its next pause is the first one again."""

FINAL_CODES = frozenset({64, 77, 78})
"""Exit codes after which a restart would end the same way: usage, access refused, configuration."""

_SAME_REQUEST = 0.5
"""Seconds in which a second signal is the same request: terminals and process managers signal twice."""

_LONGEST_LINE = 65_536
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True, eq=False)
class _Child:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    due: float | None = 0.0
    """When to start it; None while it runs, or for good."""
    pending: bytes = field(default=b"")


class Supervisor:
    """Keeps children running until a signal, or an exit code that no restart can cure.

    Args:
        commands: name -> command line.
        write: prints a line of a child, or one of our own (with an empty name).
        environment: for the children; None: ours.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        write: Callable[[str, bytes], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._children = [_Child(name, command) for name, command in commands.items()]
        self._write, self._environment = write, environment
        self._selector = selectors.DefaultSelector()
        self._code = 0
        self._stops = 0
        self._last_stop = -_SAME_REQUEST
        self._parent_dies = _parent_death_signal()

    def run(self) -> int:
        """Run until everything has ended. On the main thread: signals are handled meanwhile.

        The first SIGTERM or SIGINT ends the children warm, the second cold, a third kills them.

        Returns:
            0 when all ended because they were told to, else the code of the child that ended everything.
        """
        inner, outer = socket.socketpair()
        inner.setblocking(False)
        outer.setblocking(False)
        handled = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        previous = {number: signal.signal(number, lambda *_: None) for number in handled}
        wakeup = signal.set_wakeup_fd(outer.fileno(), warn_on_full_buffer=False)
        self._selector.register(inner, selectors.EVENT_READ)
        try:
            while self._turn(inner):
                pass
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)
            for child in self._children:
                if child.process is not None:
                    child.process.kill()
                    child.process.wait()
            self._selector.close()
            inner.close()
            outer.close()
        return self._code

    def _turn(self, wakeups: socket.socket) -> bool:
        """Start what is due, sleep, handle what happened; False when all is over."""
        now = clock.monotonic()
        for child in self._children:
            if child.due is not None and child.due <= now:
                self._start(child, now)
        if not any(child.process or child.due is not None for child in self._children):
            return False
        pauses = [child.due - now for child in self._children if child.due is not None]
        for key, _ in self._selector.select(min(pauses, default=None)):
            if key.fileobj is wakeups:
                self._on_signals(wakeups.recv(4096))
            else:
                self._on_output(key.data)
        self._reap()
        return True

    def _start(self, child: _Child, now: float) -> None:
        child.process = subprocess.Popen(  # noqa: S603 -- our own command line
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            process_group=0,  # Ctrl-C reaches them through us, once
            preexec_fn=self._parent_dies,  # noqa: PLW1509 -- this process has one thread
        )
        output = cast("BinaryIO", child.process.stdout)
        os.set_blocking(output.fileno(), False)
        self._selector.register(output, selectors.EVENT_READ, child)
        child.started, child.due = now, None

    def _on_signals(self, numbers: bytes) -> None:
        if not {signal.SIGTERM, signal.SIGINT} & set(numbers):
            return
        now = clock.monotonic()
        if now - self._last_stop < _SAME_REQUEST:
            return
        self._last_stop = now
        self._stop()

    def _stop(self) -> None:
        self._stops += 1
        number = signal.SIGTERM if self._stops <= 2 else signal.SIGKILL  # noqa: PLR2004 -- warm, cold, enough
        for child in self._children:
            child.due = None
            if child.process is not None:
                child.process.send_signal(number)

    def _on_output(self, child: _Child) -> None:
        assert child.process is not None
        output = cast("BinaryIO", child.process.stdout)
        try:
            data = os.read(output.fileno(), _LONGEST_LINE)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(output)
        *lines, child.pending = (child.pending + data).split(b"\n")
        if len(child.pending) > _LONGEST_LINE:
            lines, child.pending = [*lines, child.pending], b""
        for line in lines:
            self._write(child.name, line)

    def _reap(self) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process)

    def _ended(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        output = cast("BinaryIO", process.stdout)
        while output in (key.fileobj for key in self._selector.get_map().values()):
            before = child.pending
            self._on_output(child)
            if child.pending == before:
                break  # a grandchild holds the pipe open and has nothing to say
        if output in (key.fileobj for key in self._selector.get_map().values()):
            self._selector.unregister(output)
        if child.pending:
            self._write(child.name, child.pending)
            child.pending = b""
        output.close()
        child.process = None
        self._after(child, process.returncode)

    def _after(self, child: _Child, code: int) -> None:
        """Decide what follows from the end of a child."""
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if self._stops:
            if code:
                self._say(f"{child.name} ended with {how}")
            return
        if code in FINAL_CODES:
            self._say(f"{child.name} can't run like this ({how}); stopping everything")
            self._code = code
            self._stop()
            return
        now = clock.monotonic()
        if now - child.started >= SETTLED:
            child.pause = FIRST_PAUSE
        child.due = now + child.pause
        self._say(f"{child.name} ended ({how}); starting it again in {child.pause:g} s")
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _say(self, text: str) -> None:
        self._write("", text.encode())


def _parent_death_signal() -> Callable[[], None] | None:
    """What a child runs first, so that it ends (warm) with the supervisor, even by SIGKILL. Linux only."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def follow_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before we could follow
            os.kill(os.getpid(), signal.SIGTERM)

    return follow_parent
