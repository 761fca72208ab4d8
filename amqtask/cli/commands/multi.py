"""``amqtask multi``: start, stop and restart many workers of this machine. Owns what each word does and prints."""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.exits import INTERNAL, OK
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.cli.multi.grammar import Node, Words
    from amqtask.cli.setup import Setup


class Multi:
    """One invocation.

    Args:
        setup: the common options.
        nodes: all that are meant.
        number: the signal given, or SIGTERM.
    """

    def __init__(self, setup: Setup, nodes: Sequence[Node], number: signal.Signals) -> None:
        from amqtask.cli.multi import processes  # noqa: PLC0415 -- --help needs none of it

        self._setup, self._nodes, self._number, self._processes = setup, nodes, number, processes

    def start(self) -> int:
        """Start all nodes; the first code that is not 0."""
        self._say("> Starting nodes...")
        return self._started(self._nodes)

    def stop(self) -> int:
        """Tell all nodes to end."""
        self._told(self._number)
        return OK

    def stopwait(self) -> int:
        """Tell all nodes to end, and wait until they have."""
        running = self._told(self._number)
        self._wait(running)
        return OK

    def restart(self) -> int:
        """Start each node once it has ended."""
        self._wait(self._told(self._number))
        self._say("> Starting nodes...")
        return self._started(self._nodes)

    def kill(self) -> int:
        """End all nodes now; what they ran is run again by others."""
        self._told(signal.SIGKILL)
        return OK

    def show(self) -> int:
        """Print the command lines."""
        for node in self._nodes:
            print(shlex.join(self._processes.command(node)))
        return OK

    def names(self) -> int:
        """Print the node names."""
        for node in self._nodes:
            print(node.name)
        return OK

    def _started(self, nodes: Sequence[Node]) -> int:
        codes = []
        for node in nodes:
            code = self._processes.start(node, self._setup)
            self._say(f"\t> {node.name}: {'OK' if code == OK else f'failed with {code}'}")
            codes.append(code if code >= 0 else INTERNAL)
        return next((code for code in codes if code != OK), OK)

    def _told(self, number: signal.Signals) -> list[tuple[Node, int]]:
        """Send the signal to those that run; returns them."""
        running = []
        self._say("> Stopping nodes...")
        for node in self._nodes:
            pid = self._processes.pid_of(node, self._setup)
            if pid is None or not self._processes.send(pid, number):
                self._say(f"\t> {node.name}: DOWN")
            else:
                self._say(f"\t> {node.name}: {number.name} -> {pid}")
                running.append((node, pid))
        return running

    def _wait(self, running: Sequence[tuple[Node, int]]) -> None:
        if running:
            self._say(f"> Waiting for {len(running)} node{'s' if len(running) > 1 else ''}...")
        self._processes.wait_for_end(running, lambda node: self._say(f"\t> {node.name}: OK"))

    def _say(self, text: str) -> None:
        if not self._setup.quiet:
            print(text, flush=True)


_ACTIONS: dict[str, Callable[[Multi], int]] = {
    "start": Multi.start, "stop": Multi.stop, "stopwait": Multi.stopwait, "stop_verify": Multi.stopwait,
    "restart": Multi.restart, "kill": Multi.kill, "show": Multi.show, "names": Multi.names,
}  # fmt: skip


@click.command(
    "multi",
    cls=Command,
    short_help="Start and stop many workers of this machine.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("action", metavar="start|stop|stopwait|restart|kill|show|names|expand")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="NODE... [OPTIONS OF WORKERS]")
@click.pass_obj
def multi(setup: Setup, action: str, words: tuple[str, ...]) -> int:
    """Run workers in the background, as 'celery multi' does.

    NODE... are names, or how many there are. Options are those of 'amqtask worker'; -c:w1 10, -Q:1,2 images and
    -c:1-3 10 are for some nodes only. Pidfiles and logs are %n.pid and %n.log in the current folder, unless
    --pidfile and --logfile say otherwise; stop and restart need the same options. stop, stopwait and restart
    send SIGTERM, or the signal given as -9 or -HUP.

    \b
    amqtask multi start w1 w2 -A proj -c 4 -Q:w2 images
    amqtask multi restart w1 w2 -A proj -c 4 -Q:w2 images
    amqtask multi stopwait w1 w2
    amqtask multi expand '%n.log' w1 w2
    """  # noqa: D301 -- click reads \b as "keep these lines"
    from amqtask.cli.commands.worker import COMMAND as WORKER  # noqa: PLC0415 -- --help needs none of it
    from amqtask.cli.multi.grammar import Grammar, nodes_of  # noqa: PLC0415
    from amqtask.cli.multi.processes import signal_number  # noqa: PLC0415

    read = Grammar(WORKER).read(words)
    if action == "expand":
        return _expand(read)
    if action not in _ACTIONS:
        known = [*_ACTIONS, "expand"]
        raise click.UsageError(f"multi can't {action!r}; there are {', '.join(known)}{did_you_mean(action, known)}")
    setup.quiet = setup.quiet or "--quiet" in read.options
    return _ACTIONS[action](Multi(setup, nodes_of(read), signal_number(read.signal, signal.SIGTERM)))


def _expand(read: Words) -> int:
    from amqtask.cli.daemon import expand_path  # noqa: PLC0415
    from amqtask.cli.multi.grammar import nodes_of  # noqa: PLC0415

    if not read.names:
        raise click.UsageError("Expand what? Give a template and nodes.")
    template = read.names.pop(0)
    for node in nodes_of(read):
        print(expand_path(template, node.name))
    return OK


COMMAND = multi
