"""``amqtask top``: workers and tasks on the whole screen, as they are just now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.worker_options import read_seconds
from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("top", cls=Command, short_help="Watch workers and tasks on the whole screen.")
@click.option(
    "-i",
    "--interval",
    metavar="SECONDS",
    default="1",
    callback=read_seconds,
    show_default=True,
    help="Time between two looks.",
)
@click.pass_obj
def top(setup: Setup, interval: float) -> None:
    """Show all workers, and the latest tasks of those started with -E, until Q.

    Needs the extra 'top'.
    """
    try:
        from amqtask.cli.top_view import TopView  # noqa: PLC0415 -- optional
    except ImportError as error:
        raise ConfigError(f"amqtask top needs the package {error.name}: pip install 'amqtask[top]'") from None
    app = setup.load("nothing")
    if not sys.stdout.isatty():
        raise click.UsageError("amqtask top needs a terminal; 'amqtask events' prints lines")
    view = TopView(app, interval)
    view.run()
    if view.failure is not None:
        raise view.failure


COMMAND = top
