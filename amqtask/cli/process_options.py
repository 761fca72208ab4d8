"""Options of programs that run on: who they are, where they run, what they write. Owns their names and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """What the command line asks of the process; None says nothing. Paths may have ``%`` sequences.

    Attributes:
        detach: run in the background.
        pidfile, logfile: paths; see :func:`amqtask.cli.daemon.expand_path`.
        uid, gid: name or number of a user and of a group.
        umask: of the process.
        executable: Python to run instead of this one.
    """

    detach: bool = False
    pidfile: str | None = None
    logfile: str | None = None
    uid: str | None = None
    gid: str | None = None
    umask: int | None = None
    executable: str | None = None


def _octal(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        mask = int(value, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:  # noqa: PLR2004 -- all permission bits
        raise click.BadParameter(f"{value!r} is not an octal number such as 022")
    return mask


def process_options(command: Any) -> Any:
    """Add the options to a command; their values belong in :class:`ProcessOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("-D", "--detach", is_flag=True, help="Run in the background; returns when it has started."),
    click.option(
        "--pidfile", metavar="FILE",
        help="Write the process id there; a second start is refused. %n is the name before the @, %h the host.",
    ),
    click.option(
        "-f", "--logfile", metavar="FILE", help="Append the log to this file instead of stderr; %n and %h as there."
    ),
    click.option("--uid", metavar="USER", help="Run as this user (name or number)."),
    click.option("--gid", metavar="GROUP", help="Run as this group (name or number)."),
    click.option("--umask", metavar="OCTAL", callback=_octal, help="Permissions that new files don't get."),
    click.option("--executable", metavar="PYTHON", help="With --detach: the Python to run."),
)  # fmt: skip
