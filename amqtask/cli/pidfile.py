"""A file with the id of a running process. Owns who may write it: one living process at a time.

A file is stale when nobody has that id, or when who has it was started after the file was written. The latter is told
by clocks, which may be set; so a process holds a lock on its file, and while somebody does, the file is not stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from amqtask import clock, unpatched
from amqtask.cli.exits import CannotCreate

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLACK = 2.0
"""Seconds by which clocks of file system and kernel may differ."""

_TURN = 1.0
"""Seconds to wait for others that write a file in the same folder; there it takes them less than a millisecond."""


class Pidfile:
    """The pidfile of this process.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._held = -1

    @property
    def socket(self) -> str:
        """Path of the socket beside the file where the process tells its health."""
        return f"{self.path}.health"

    def owner(self) -> int | None:
        """The living process that has the file; None: there is no file, or it is stale."""
        try:
            with self.path.open() as file:
                pid = int(file.read().split()[0])
                written, held = os.fstat(file.fileno()).st_mtime, _held(file.fileno())
        except (OSError, ValueError, IndexError):
            return None
        if pid <= 0 or not alive(pid):  # 0 and less mean groups of processes
            return None
        if held:
            return pid
        began = _began(pid)
        return None if began is not None and began > written + _SLACK else pid

    def check(self, *, instead_of: int | None = None) -> None:
        """See that this process may have the file.

        Args:
            instead_of: a process that hands the file over.

        Raises:
            CannotCreate: another process has it.
        """
        owner = self.owner()
        if owner not in (None, os.getpid(), instead_of):
            raise CannotCreate(f"pidfile {self.path}: process {owner} is running already")

    def write(self, *, instead_of: int | None = None) -> None:
        """Have the file, with this process's id; a stale one is replaced.

        Args:
            instead_of: a process that hands the file over.

        Raises:
            CannotCreate: another process has it, or it can't be written.
        """
        self.check(instead_of=instead_of)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with _alone(self.path.parent):
                self.check(instead_of=instead_of)  # somebody may have been faster
                self._hold(draft)
                draft.replace(self.path)
        except OSError as error:
            raise CannotCreate(f"pidfile {self.path}: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the file if it is still this process's; and the socket, which a failure may have left."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(self.path.read_text().split()[0]) == os.getpid():
                self.path.unlink()
                Path(self.socket).unlink(missing_ok=True)
        self._let_go()

    def _hold(self, draft: Path) -> None:
        self._let_go()
        self._held = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.write(self._held, f"{os.getpid()}\n".encode())
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _let_go(self) -> None:
        if self._held >= 0:
            unpatched.close(self._held)
        self._held = -1


def _held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of two that find the same stale file, one at a time; without locks there, or when that takes long, both."""
    descriptor, end = -1, clock.monotonic() + _TURN
    try:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            while clock.monotonic() < end:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    unpatched.sleep(0.01)
        yield
    finally:
        if descriptor >= 0:
            unpatched.close(descriptor)


def alive(pid: int) -> bool:
    """Is there a process with this id, zombies left out?"""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    state = _status(pid)
    return state is None or state[0] != "Z"


def _status(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the name; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _began(pid: int) -> float | None:
    """When a process began, in epoch seconds; None where nobody tells."""
    fields = _status(pid)
    if fields is None:
        return None
    try:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return None
    return clock.wall() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")
