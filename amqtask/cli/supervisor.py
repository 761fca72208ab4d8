"""Runs one process per pool and keeps them running: start, output, restart, signals, end.

Owns the tree of processes; knows nothing of what they do. Everything happens in one thread that sleeps until
a child writes or ends, a signal arrives or a restart is due.
"""

from __future__ import annotations

import selectors
import signal
import socket
import sys
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.cli.children import Child, Companion, spawner
from amqtask.cli.lines import Lines

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a child that died is started again: doubled each time, up to the longest."""

SETTLED = 60.0
"""Seconds after which a child counts as running well: its next pause is the first one again."""

FINAL_CODES = frozenset({64, 77, 78})
"""Exit codes after which a restart would end the same way: usage, access refused, configuration."""

_SAME_REQUEST = 0.5
"""Seconds in which a second signal is the same request: terminals and process managers signal twice."""


class Supervisor:
    """Keeps children running until a signal, or an exit code that no restart can cure.

    Args:
        commands: name -> command line.
        write: prints a line of a child, or one of our own (with an empty name).
        environment: for the children; None: ours.
        patient: a child that can't run like this waits for :meth:`replace` instead of ending everything.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        write: Callable[[str, bytes], None],
        environment: Mapping[str, str] | None = None,
        *,
        patient: bool = False,
    ) -> None:
        self._children = [Child(name, command) for name, command in commands.items()]
        self._companions: list[Companion] = []
        self._write, self.patient = write, patient
        self._selector = selectors.DefaultSelector()
        self._code = 0
        self._stops = 0
        self._last_stop = -_SAME_REQUEST
        self._spawn = spawner(environment)

    def run(self) -> int:
        """Run until everything has ended. On the main thread: signals are handled meanwhile.

        The first SIGTERM or SIGINT ends the children warm, the second cold, a third kills them. SIGHUP is handed on:
        workers are replaced without a gap. Where stdout is a terminal, that hangs up: everything ends.

        Returns:
            0 when all ended because they were told to, else the code of the child that ended everything.
        """
        inner, outer = socket.socketpair()
        inner.setblocking(False)
        outer.setblocking(False)
        handled = [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup
            handled.append(signal.SIGHUP)
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
            self._kill()
            self._selector.close()
            inner.close()
            outer.close()
        return self._code

    # -- for those who decide what runs; to be called before run(), or by what it calls ------------

    def replace(self, commands: Mapping[str, Sequence[str]]) -> None:
        """From now on these are the children: each that runs ends warm and starts anew, if it is still wanted."""
        if self._stops:
            return
        now = clock.monotonic()
        for child in self._children:
            child.command = commands.get(child.name, ())
            child.pause, child.due = None, None
            if child.process is None:
                child.due = now if child.command else None
            elif not child.replaced:
                child.replaced = True
                child.process.terminate()
        known = {child.name for child in self._children}
        self._children += [Child(name, command) for name, command in commands.items() if name not in known]
        self._children = [child for child in self._children if child.command or child.process]

    def spawn(self, command: Sequence[str], on_line: Callable[[bytes], None], on_end: Callable[[int], None]) -> None:
        """Run a companion of the children: told of its output and its end, it is neither restarted nor waited for.

        Args:
            command: its command line.
            on_line: called with each line of its output.
            on_end: called with its exit code; not after the end of everything.
        """
        self._join(self._spawn(command), on_line, on_end, ours=True)

    def attach(
        self, process: subprocess.Popen[bytes], on_line: Callable[[bytes], None], on_end: Callable[[int], None]
    ) -> None:
        """The same for a process that somebody else has started, with a pipe for its output, and will end."""
        self._join(process, on_line, on_end, ours=False)

    def end(self, code: int) -> None:
        """End everything, warm; :meth:`run` returns this code."""
        if not self._stops:
            self._code = code
            self._stop()

    def say(self, text: str) -> None:
        """Print a line of our own."""
        self._write("", text.encode())

    # -- the loop ---------------------------------------------------------------------------------

    def _turn(self, wakeups: socket.socket) -> bool:
        """Start what is due, sleep, handle what happened; False when all is over."""
        now = clock.monotonic()
        for child in self._children:
            if child.due is not None and child.due <= now:
                self._start(child, now)
        active = any(child.process or child.due is not None for child in self._children)
        if not active and (self._stops or not self.patient):
            return False
        pauses = [child.due - now for child in self._children if child.due is not None]
        for key, _ in self._selector.select(min(pauses, default=None)):
            if key.fileobj is wakeups:
                self._on_signals(wakeups.recv(4096))
            else:
                key.data.read()
        self._reap()
        return True

    def _start(self, child: Child, now: float) -> None:
        process = child.process = self._spawn(child.command)
        assert process.stdout is not None
        child.lines = Lines(self._selector, process.stdout.fileno(), lambda line: self._write(child.name, line))
        child.started, child.due = now, None

    def _join(
        self,
        process: subprocess.Popen[bytes],
        on_line: Callable[[bytes], None],
        on_end: Callable[[int], None],
        *,
        ours: bool,
    ) -> None:
        assert process.stdout is not None
        lines = Lines(self._selector, process.stdout.fileno(), on_line)
        self._companions.append(Companion(process, lines, on_end, ours))

    # -- signals ----------------------------------------------------------------------------------

    def _on_signals(self, numbers: bytes) -> None:
        hung_up = signal.SIGHUP in numbers
        if hung_up and not sys.stdout.isatty():
            for child in self._children:
                if child.process is not None and not child.replaced:
                    child.process.send_signal(signal.SIGHUP)
            hung_up = False
        if not hung_up and not {signal.SIGTERM, signal.SIGINT} & set(numbers):
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
            told = child.replaced and self._stops == 1  # a second signal would end it cold
            if child.process is not None and not told:
                child.process.send_signal(number)

    def _kill(self) -> None:
        processes = [child.process for child in self._children if child.process is not None]
        for process in (*processes, *(one.process for one in self._companions if one.ours)):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    # -- ends -------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for child in list(self._children):
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process)
        for companion in list(self._companions):
            code = companion.process.poll()
            if code is not None:
                self._companions.remove(companion)
                companion.lines.finish()
                if companion.ours and companion.process.stdout is not None:
                    companion.process.stdout.close()
                companion.on_end(code)

    def _ended(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        assert child.lines is not None
        assert process.stdout is not None
        child.lines.finish()
        process.stdout.close()
        child.process = child.lines = None
        self._after(child, process.returncode)

    def _after(self, child: Child, code: int) -> None:
        """Decide what follows from the end of a child."""
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if self._stops:
            if code not in (0, -signal.SIGTERM):  # told to end before it could listen
                self.say(f"{child.name} ended ({how})")
            return
        now = clock.monotonic()
        if child.replaced:
            child.replaced, child.due = False, now
            if not child.command:
                self._children.remove(child)
            return
        if code in FINAL_CODES:
            self._cant_run(child, how, code)
            return
        if now - child.started >= SETTLED:
            child.pause = None
        pause = child.pause or FIRST_PAUSE
        child.due = now + pause
        self.say(f"{child.name} ended ({how}); starting it again in {pause:g} s")
        child.pause = min(pause * 2, LONGEST_PAUSE)

    def _cant_run(self, child: Child, how: str, code: int) -> None:
        if self.patient:
            self.say(f"{child.name} can't run like this ({how}); waiting for a change")
            return
        self.say(f"{child.name} can't run like this ({how}); stopping everything")
        self.end(code)
