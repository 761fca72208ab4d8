"""The processes that a supervisor runs, and how they are started. Owns neither their life nor their restart."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.cli.lines import Lines

_PR_SET_PDEATHSIG = 1


@dataclass(slots=True, eq=False)
class Child:
    """A process that is kept running.

    Attributes:
        name: shown before its lines.
        command: its command line; empty once nobody wants it any more.
        process, lines: while it runs.
        started: monotonic time.
        pause: seconds before the next restart, once there has been one.
        due: monotonic time at which to start it; None while it runs, or for good.
        replaced: it was told to end, so that it can be started anew or be done without.
    """

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    lines: Lines | None = None
    started: float = 0.0
    pause: float | None = None
    due: float | None = 0.0
    replaced: bool = False


@dataclass(slots=True, eq=False)
class Companion:
    """A process beside the children; ``ours`` when the supervisor started it, and so has to end it."""

    process: subprocess.Popen[bytes]
    lines: Lines
    on_end: Callable[[int], None]
    ours: bool


def spawner(environment: Mapping[str, str] | None) -> Callable[[Sequence[str]], subprocess.Popen[bytes]]:
    """What starts a command as a child: its output in a pipe, out of Ctrl-C's reach, and ending with this process.

    Args:
        environment: for the children; None: ours.
    """
    parent_dies = _parent_death_signal()

    def spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 -- our own command line
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,  # Ctrl-C reaches them through us, once
            preexec_fn=parent_dies,  # noqa: PLW1509 -- this process has one thread
        )

    return spawn


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
