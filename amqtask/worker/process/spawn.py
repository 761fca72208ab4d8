"""Starts programs from the I/O thread. Owns the one way that works in every pool.

gevent's versions of subprocess and of these functions work in its main thread only; those of the module posix are not
replaced.
"""

from __future__ import annotations

import os
import posix
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def spawn(command: Sequence[str], environment: Mapping[str, str], folder: str | None = None) -> int:
    """Start a program; what is inheritable of our descriptors is its own too.

    Args:
        command: its command line.
        environment: all of it.
        folder: where it runs; None: here.

    Returns:
        Its process id; it has to be waited for.

    Raises:
        OSError: there is no shell to start it.
    """
    words = shlex.join(command)
    script = f"exec {words}" if folder is None else f"cd {shlex.quote(folder)} && exec {words}"
    return posix.posix_spawn("/bin/sh", ("sh", "-c", script), dict(environment))


def running(pid: int) -> bool:
    """Whether a program that was started goes on; it need not be waited for any more when it does not."""
    try:
        return posix.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # somebody waits for all children, as gevent may
        return False


def exit_code(pid: int) -> int | None:
    """Wait for the end of a program that is ending; None when somebody else has waited for it."""
    try:
        return os.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None
