"""The fork server: a small single-threaded process that makes the children and tells how each one ended.

It is forked before the worker has threads or connections, with the app imported, so children start in milliseconds
and share its memory. Owns both ends of its control stream; knows nothing of jobs.

    worker ── control stream: SPAWN slot (+ socket), SIGNAL slot number, PING number, LEAVE ──► fork server ──► children
           ◄── BORN slot pid · DEAD slot pid wait-status · STOPPED slot · CONTINUED slot · PONG number ──
           ◄── UNBORN slot reason ──

Signals go through the server as well: it has reaped, or not, so it never hits a stranger that got a dead child's pid.

Nobody outlives the worker: on Linux the kernel kills the server when the worker dies, and the children when the
server dies; elsewhere the server kills its children when the control stream ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from amqtask.signals import worker_before_create_process
from amqtask.worker.pools.prefork.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    ChildMain = Callable[[int, socket.socket], NoReturn]

SPAWN, SIGNAL, PING, LEAVE, BORN, UNBORN, DEAD, STOPPED, CONTINUED, PONG = range(10)

_PR_SET_PDEATHSIG = 1
_REAP_DEADLINE = 1.0


class ForkServer:
    """The worker's handle. Fork on the main thread; use on one thread.

    Args:
        child_main: what a child does, given its slot and its end of a socket pair.
    """

    def __init__(self, child_main: ChildMain) -> None:
        self.control, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self.control.close()
            _run_server(theirs, child_main, parent)
        theirs.close()
        self.control.setblocking(False)
        self._writer, self._reader = FrameWriter(), FrameReader()

    def spawn(self, slot: int, sock: socket.socket) -> None:
        """Have a child made for this slot; it gets ``sock``, the caller closes its copy.

        Raises:
            OSError: the server is gone, or far behind (BlockingIOError).
        """
        socket.send_fds(self.control, [self._writer.frame(SPAWN, slot)], [sock.fileno()])

    def signal(self, slot: int, number: int) -> None:
        """Have the slot's child signalled, if it lives; may go astray when the server is far behind."""
        self._send(SIGNAL, slot, number)

    def ping(self, number: int) -> None:
        """Have this number sent back; may go astray as well."""
        self._send(PING, number)

    def _send(self, *frame: int) -> None:
        with contextlib.suppress(OSError):
            self.control.send(self._writer.frame(*frame))

    def events(self) -> list[list[Any]] | None:
        """What the server has told since the last call; None when it is gone."""
        try:
            data = self.control.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        return self._reader.feed(data) if data else None

    def stop(self) -> None:
        """Kill the children and the server, and wait until the server has gone (milliseconds)."""
        if self.pid == 0:
            return
        self.control.close()
        if not self._gone_within(_REAP_DEADLINE):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.pid = 0

    def leave(self, seconds: float) -> None:
        """The same, once the children have ended by themselves, at the latest after this many seconds."""
        self._send(LEAVE)
        self._gone_within(seconds)
        self.stop()

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not _reaped(self.pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)  # waitpid knows no time limit
        return True


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _run_server(control: socket.socket, child_main: ChildMain, parent: int) -> NoReturn:
    try:
        _Server(control, child_main, parent).serve()
    except BaseException:
        logging.getLogger("amqtask.worker").exception("the fork server failed")
    finally:
        os._exit(1)


class _Server:
    """Inside the server's process."""

    def __init__(self, control: socket.socket, child_main: ChildMain, parent: int) -> None:
        self._control, self._child_main = control, child_main
        self._set_death_signal = _death_signal()
        self._die_with(parent)
        for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        _stdin_from_null()
        self._reader, self._writer = FrameReader(), FrameWriter()
        self._fds: list[int] = []
        self._children: dict[int, int] = {}
        self._leaving = False

    def serve(self) -> NoReturn:
        try:
            self._serve()
        except OSError:  # of the control stream: the worker is gone
            self._end()

    def _serve(self) -> NoReturn:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                    self._reap()
                elif not self._obey():
                    self._end()
            if self._leaving and not self._children:
                self._end()

    def _obey(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, 65536, 64)
        self._fds += fds
        for frame in self._reader.feed(data):
            if frame[0] == SPAWN:
                self._spawn(frame[1])
            elif frame[0] == SIGNAL:
                self._signal(frame[1], frame[2])
            elif frame[0] == PING:
                self._control.sendall(self._writer.frame(PONG, frame[1]))
            elif frame[0] == LEAVE:
                self._leaving = True
        return bool(data)

    def _spawn(self, slot: int) -> None:
        fd = self._fds.pop(0)
        server = os.getpid()
        worker_before_create_process.send(None)
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, or no memory: that may pass, and the others go on
            os.close(fd)
            self._control.sendall(self._writer.frame(UNBORN, slot, str(error)))
            return
        if pid == 0:
            self._become_child(slot, fd, server)
        os.close(fd)
        self._children[pid] = slot
        self._control.sendall(self._writer.frame(BORN, slot, pid))

    def _become_child(self, slot: int, fd: int, server: int) -> NoReturn:
        try:
            self._die_with(server)
            signal.set_wakeup_fd(-1)
            for name in ("SIGTERM", "SIGUSR2"):  # at SIGUSR1 it would end before it can write its stacks
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            for other in (self._wake_read, self._wake_write, *self._fds):
                os.close(other)
            self._control.close()
            self._child_main(slot, socket.socket(fileno=fd))
        except BaseException:
            logging.getLogger("amqtask.worker").exception("a child failed to start")
        finally:
            os._exit(1)

    def _signal(self, slot: int, number: int) -> None:
        for pid, owner in self._children.items():
            if owner == slot:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return
            if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                kind = STOPPED if os.WIFSTOPPED(status) else CONTINUED
                if pid in self._children:
                    self._control.sendall(self._writer.frame(kind, self._children[pid]))
                continue
            slot = self._children.pop(pid, None)
            if slot is not None:
                self._control.sendall(self._writer.frame(DEAD, slot, pid, status))

    def _end(self) -> NoReturn:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        os._exit(0)

    def _die_with(self, parent: int) -> None:
        if self._set_death_signal is not None:
            self._set_death_signal(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _death_signal() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # noqa: PLC0415 -- needed in this process only, and not everywhere

    prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return prctl


def _stdin_from_null() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
