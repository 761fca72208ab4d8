"""``amqtask``: the root of the command line. Owns the list of commands and what is true for all of them."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

import click

from amqtask.cli.command import RegistryGroup
from amqtask.cli.exits import guarded
from amqtask.cli.setup import Setup
from amqtask.plugins import Registry
from amqtask.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

commands: Registry[click.Command] = Registry("command", "amqtask.cli.commands", "COMMAND", "amqtask.commands")
"""Every command: a module in the folder, or an entry point of another package."""


_OF_CELERY = {
    "amqp": "use 'amqtask queue', 'purge', 'dead' and 'topology'",
    "flower": "use 'amqtask monitor', or start Flower by itself: celery -b URL flower",
    "logtool": "write the log as JSON (--log-format json), which any such tool reads",
    "migrate": "queues stay where they are; the documentation has a page on moving from Celery",
}
"""Commands that Celery has -> what to use here."""


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        print(f"amqtask {__version__}")
        context.exit()


cli = RegistryGroup(
    "amqtask",
    commands=commands,
    elsewhere=_OF_CELERY,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Tasks on RabbitMQ: workers, topology, queues and dead letters.",
    epilog="The common options may stand before or after a command's name.",
    no_args_is_help=False,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show it.",
        )
    ],
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: instead of ``sys.argv[1:]``.

    Returns:
        The exit code; see :mod:`amqtask.cli.exits`.
    """
    setup = Setup()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name outside the terminal's alphabet is no error

    def program() -> object:
        try:
            return cli.main(
                args=None if args is None else list(args),
                prog_name="amqtask",
                standalone_mode=False,
                obj=setup,
            )
        finally:
            setup.close()

    return guarded(program)
