"""``amqtask check``: ask a worker whether it is all right. Owns the question; the answer is the worker's own.

Loads no app and connects to no broker: a probe has to be quick and small.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.exits import DataError, Unhealthy

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup

_PATHS = {"live": "/livez", "ready": "/readyz", "startup": "/startupz"}


@click.command("check", cls=Command, short_help="Ask a worker whether it is live, or ready.")
@click.argument("question", type=click.Choice(list(_PATHS)))
@click.option("--pidfile", metavar="FILE", help="The worker with this pidfile, on this machine.")
@click.option("--health", metavar="[HOST]:PORT", help="The worker that answers there (its --health).")
@click.option("--timeout", type=float, default=2.0, show_default=True, metavar="SECONDS", help="Time for the answer.")
@click.pass_obj
def check(setup: Setup, question: str, pidfile: str | None, health: str | None, timeout: float) -> None:
    """Exit with 0 when the worker says yes, with 69 when it says no, or nothing.

    \b
    live     its I/O loop turns and it has not found itself broken; the broker may be away
    ready    it consumes all of its queues
    startup  it has come up
    """  # noqa: D301 -- click reads \b as "keep these lines"
    setup.enter_workdir()
    if (pidfile is None) == (health is None):
        raise click.UsageError("Which worker? Give --pidfile or --health.")
    try:
        with _connected(pidfile, health, timeout) as peer:
            status, text = _ask(peer, _PATHS[question])
    except OSError as error:
        raise Unhealthy(f"no worker answers at {pidfile or health}: {error.strerror or error}") from None
    if status != 200:  # noqa: PLR2004 -- HTTP's OK
        raise Unhealthy(text)
    if not setup.quiet:
        print(text)


def _connected(pidfile: str | None, health: str | None, timeout: float) -> socket.socket:
    if pidfile is not None:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(timeout)
        peer.connect(f"{pidfile}.health")
        return peer
    host, colon, port = str(health).rpartition(":")
    if not colon or not port.isdecimal():
        raise click.BadParameter(f"{health!r} is not an address; write :8080 or host:8080")
    return socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout)


def _ask(peer: socket.socket, path: str) -> tuple[int, str]:
    peer.sendall(f"GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while found := peer.recv(4096):
        answer += found
    head, _, body = answer.partition(b"\r\n\r\n")
    try:
        return int(head.split()[1]), str(json.loads(body)["status"])
    except (IndexError, KeyError, TypeError, ValueError):
        raise DataError("what answers there is not a worker") from None


COMMAND = check
