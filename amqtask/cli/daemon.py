"""What a program that runs on does to its process: folder, user, background, log file, pidfile, and its end.

Owns the order of these, and what a process tells those that started it: the terminal that waits for a detached one, and
the process whose place it takes (see :mod:`amqtask.worker.successor`).
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import posix
import pwd
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from amqtask import unpatched
from amqtask.cli.exits import INTERNAL, CannotCreate, describe, exit_code
from amqtask.cli.pidfile import Pidfile
from amqtask.cli.stand_in import HANDED_ON, adopt_orphans
from amqtask.errors import ConfigError
from amqtask.worker.process.notify import notify
from amqtask.worker.successor import PREDECESSOR, READY, Launch

if TYPE_CHECKING:
    from types import TracebackType

    from amqtask.cli.process_options import ProcessOptions
    from amqtask.cli.setup import Setup

DETACHED = "_AMQTASK_DETACHED"
"""Environment: detached already, and this descriptor leads to the terminal that waits."""


STAND_IN = "_AMQTASK_STAND_IN_FD"
"""Environment: descriptor to the process that stands in for a worker, which wants to know who works."""


class Program:
    """A program that runs on; a context manager around all of its work.

    When another process takes over, this one ends if nobody waits for its end: it runs in the background, or systemd is
    told who has taken over. Else it stays as :mod:`amqtask.cli.stand_in`.

    Args:
        setup: the common options.
        options: of the process.
        node: ``name@host``, for ``%`` in paths.

    Attributes:
        launch: starts this program once more.
        pidfile: of this process, or None.
    """

    def __init__(self, setup: Setup, options: ProcessOptions, node: str) -> None:
        self._setup, self._options, self._node = setup, options, node
        self.pidfile: Pidfile | None = None
        predecessor, self._ready, self._terminal = _inherited(PREDECESSOR), _inherited(READY), _inherited(DETACHED)
        for descriptor in (self._ready, self._terminal):
            if descriptor is not None:
                os.set_inheritable(descriptor, False)
        self._first = predecessor is None and self._terminal is None
        self._successor: int | None = None
        self._stand_in = _inherited(STAND_IN)
        self._waits: int | None = None
        """What tells the process that stands in for this one who works, should it come to that."""
        if self._stand_in is None and not (options.detach or os.environ.get("NOTIFY_SOCKET")):
            self._waits, self._stand_in = os.pipe()
        command = (sys.executable, *sys.orig_argv[1:])
        if self._stand_in is None:
            self.launch = Launch(command, _folder(), predecessor)
        else:
            told = {STAND_IN: str(self._stand_in)}
            self.launch = Launch(command, _folder(), predecessor, (self._stand_in,), told)

    def __enter__(self) -> Self:
        """Set the process up.

        Raises:
            click.exceptions.Exit: in the terminal's process of a program that has detached, with the exit code.
            ConfigError: no such user, or not allowed.
            CannotCreate: another process has the pidfile, or a file can't be written.
        """
        options = self._options
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not sys.stdout.isatty():
            signal.signal(signal.SIGHUP, _too_early)
        self._setup.enter_workdir()
        if self._first:
            become(options.uid, options.gid)
            if options.umask is not None:
                os.umask(options.umask)
        if options.pidfile is not None:
            self.pidfile = Pidfile(Path(expand_path(options.pidfile, self._node)))
            self.pidfile.check(instead_of=self.launch.predecessor)
        log = None if options.logfile is None else _open_log(Path(expand_path(options.logfile, self._node)))
        background = options.detach and self._first
        if background:
            self._terminal = detach()
        _redirect(log, nothing=background)
        try:
            if background and options.executable is not None:
                self._execute(options.executable)
            if self.pidfile is not None and self.launch.predecessor is None:
                self.pidfile.write()
        except Exception as error:
            self.__exit__(type(error), error, None)  # the terminal waits to be told
            raise
        return self

    def _execute(self, executable: str) -> None:
        assert self._terminal is not None
        os.set_inheritable(self._terminal, True)
        os.environ[DETACHED] = str(self._terminal)
        os.chdir(self.launch.folder)
        try:
            os.execv(executable, (executable, *self.launch.command[1:]))  # noqa: S606 -- no shell is wanted
        except OSError as error:
            raise ConfigError(f"--executable {executable}: {error.strerror}") from None

    def started(self) -> None:
        """It has come up: let go of the terminal that waits for it. Harmless when nobody waits."""
        self._tell_terminal(0, [])

    def ready(self) -> None:
        """It does its work: let the process go whose place it takes, and have its pidfile. Harmless without one."""
        if self._ready is None:
            return
        if self.pidfile is not None:
            self.pidfile.write(instead_of=self.launch.predecessor)
        if self._stand_in is not None:
            with contextlib.suppress(BrokenPipeError):  # as below
                os.write(self._stand_in, f"{os.getpid()}\n".encode())
        descriptor, self._ready = self._ready, None
        with contextlib.suppress(BrokenPipeError):  # it has died meanwhile
            os.write(descriptor, b"ready\n")
        unpatched.close(descriptor)

    def replaced(self, pid: int) -> None:
        """This process has taken over."""
        self._successor = pid
        if self._waits is not None:
            adopt_orphans()  # now: that one may have a successor of its own before this one has ended
        notify(f"MAINPID={pid}")

    def hand_on(self, number: int) -> None:
        """A signal for the worker has come to this process; where it stands in for another, that one gets it."""
        if self._successor is not None and self._waits is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._successor, number)

    def leave(self) -> None:
        """The process ends, or stands in for the one that has taken over: then this does not return.

        The pidfile goes, unless it has been handed over.
        """
        if self.pidfile is not None:
            self.pidfile.remove()
        if self._successor is not None and self._waits is not None:
            os.set_inheritable(self._waits, True)
            program = (sys.executable, "-m", "amqtask.cli.stand_in", str(self._successor), str(self._waits))
            with contextlib.suppress(OSError):  # an old release may have been removed
                os.chdir(self.launch.folder)
            sys.stdout.flush()
            signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
            os.execv(sys.executable, program)  # noqa: S606 -- no shell is wanted

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.leave()
        lines = describe(error) if isinstance(error, Exception) else ["it ended before it had started"]
        self._tell_terminal(INTERNAL if error is None else exit_code(error), lines)
        for descriptor in (self._ready, self._stand_in, self._waits):
            if descriptor is not None:
                os.close(descriptor)

    def _tell_terminal(self, code: int, lines: list[str]) -> None:
        if self._terminal is not None:
            descriptor, self._terminal = self._terminal, None
            os.write(descriptor, json.dumps([code, lines]).encode() + b"\n")
            os.close(descriptor)


def _too_early(_number: int, _frame: object) -> None:
    """A hangup while it starts: what it asks for is happening already."""


def _inherited(name: str) -> int | None:
    """A number that the process before us has left in the environment, for us alone."""
    value = os.environ.pop(name, None)
    return None if value is None else int(value)


def expand_path(path: str, node: str) -> str:
    """A path with its ``%`` sequences replaced, as Celery has them.

    Args:
        path: ``%p`` is the node name, ``%n`` its part before the ``@``, ``%h`` the host name, ``%d`` the host's
            domain, ``%i`` and ``%I`` are those of the main process (``0`` and nothing), ``%%`` is ``%``.
        node: ``name@host``.

    Raises:
        ConfigError: another sequence.
    """
    name, _, host = node.partition("@")
    known = {"p": node, "n": name, "h": host, "d": host.partition(".")[2], "i": "0", "I": "", "%": "%"}

    def expand(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise ConfigError(f"path {path!r}: {found[0]!r} is unknown; there are %n %h %d %p %i %I and %%")
        return known[found[1]]

    return os.path.expanduser(re.sub(r"%(.?)", expand, path))  # noqa: PTH111 -- text to text


def become(user: str | None, group: str | None) -> None:
    """Run as another user and group, for good.

    Args:
        user: name or number; None: as now.
        group: name or number; None: the user's own, or as now.

    Raises:
        ConfigError: there is no such user or group, or this process may not become it.
    """
    account, gid = None if user is None else _account(user), None if group is None else _group(group)
    if account is not None and gid is None:
        gid = account.pw_gid
    same = (account is None or account.pw_uid == os.getuid()) and (gid is None or gid == os.getgid())
    if same:
        return
    try:
        if account is not None and gid is not None:
            os.initgroups(account.pw_name, gid)
        if gid is not None:
            os.setgid(gid)
        if account is not None:
            os.setuid(account.pw_uid)
    except PermissionError:
        raise ConfigError(f"only root may become user {user or '-'}, group {group or '-'}") from None


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"--uid: there is no user {user!r}") from None


def _group(group: str) -> int:
    try:
        return (grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)).gr_gid
    except KeyError:
        raise ConfigError(f"--gid: there is no group {group!r}") from None


def detach() -> int:
    """Go on in a process of its own, without terminal and session.

    Returns:
        In that process: a descriptor for ``[exit code, lines]`` as one line of JSON, for the terminal.

    Raises:
        click.exceptions.Exit: in the process that was there, once the other has written, or has ended.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        posix.waitpid(child, 0)  # gevent has replaced that of os, by one that may miss the end of a child
        with os.fdopen(reader, encoding="utf-8") as answer:
            line = answer.readline()
        code, lines = json.loads(line) if line else (INTERNAL, ["it ended before it had started; see its log"])
        for text in lines:
            print(text, file=sys.stderr)
        raise click.exceptions.Exit(code)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)  # so that no terminal can become its own again
    return writer


def _open_log(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise CannotCreate(f"log file {path}: {error.strerror}") from None


def _redirect(log: int | None, *, nothing: bool) -> None:
    """Point the standard streams elsewhere, those of children to come included.

    Args:
        log: takes stderr; with ``nothing`` stdout too.
        nothing: there is no terminal any more.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if nothing:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null if log is None else log, 1)
        os.dup2(null if log is None else log, 2)
        os.close(null)
    elif log is not None:
        os.dup2(log, 2)
    if log is not None:
        os.close(log)


def _folder() -> str:
    """The current folder as the shell names it: through a link that a deployment may point elsewhere."""
    here = os.getcwd()  # noqa: PTH109
    named = os.environ.get("PWD", "")
    try:
        return named if os.path.samefile(named, here) else here  # noqa: PTH121
    except OSError:
        return here
