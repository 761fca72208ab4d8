"""The processes of nodes: started in the background, found by pidfile, ended by signal. Owns starting and waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amqtask.cli.daemon import expand_path
from amqtask.cli.pidfile import Pidfile, alive
from amqtask.cli.setup import APP_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.cli.multi.grammar import Node
    from amqtask.cli.setup import Setup

_LOOK = 0.1
"""Seconds between looks at whether processes have ended."""


def command(node: Node) -> list[str]:
    """The command line that starts a node."""
    return [node.option("--executable") or sys.executable, "-m", "amqtask", "worker", "--detach", *node.words()]


def environment(setup: Setup) -> dict[str, str]:
    """For the workers: what the common options before ``multi`` say."""
    return {**os.environ, **({} if setup.app is None else {APP_VARIABLE: setup.app}), **setup.handed_on()}


def start(node: Node, setup: Setup) -> int:
    """Start a node; returns its exit code once it has started, or has not."""
    return subprocess.run(  # noqa: S603 -- our own command line
        command(node), env=environment(setup), cwd=setup.workdir, check=False, stdout=subprocess.DEVNULL
    ).returncode


def pid_of(node: Node, setup: Setup) -> int | None:
    """The process of a node, while it runs."""
    path = Path(expand_path(node.option("--pidfile") or "", node.name))
    folder = node.option("--workdir") or setup.workdir
    return Pidfile(path if folder is None else Path(folder) / path).owner()


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False when there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(pids: Iterable[tuple[Node, int]], ended: Callable[[Node], None]) -> None:
    """Return when all have ended; ``ended`` is called for each."""
    left = list(pids)
    while left:
        for node, pid in list(left):
            if not alive(pid):
                left.remove((node, pid))
                ended(node)
        if left:
            time.sleep(_LOOK)


def signal_number(text: str, default: signal.Signals) -> signal.Signals:
    """``9``, ``KILL``; empty: the default.

    Raises:
        click.UsageError: there is no such signal.
    """
    if not text:
        return default
    try:
        return signal.Signals(int(text)) if text.isdecimal() else signal.Signals[f"SIG{text}"]
    except (KeyError, ValueError):
        raise click.UsageError(f"there is no signal {text!r}") from None
