"""``amqtask inspect``: ask running workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.remote import DESTINATION_OPTION, JSON_OPTION, TIMEOUT_OPTION, ask, list_option

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("inspect", cls=Command, short_help="Ask running workers.")
@click.argument("command")
@click.argument("arguments", nargs=-1)
@DESTINATION_OPTION
@TIMEOUT_OPTION
@JSON_OPTION
@list_option("inspect")
@click.pass_obj
def inspect(
    setup: Setup,
    command: str,
    arguments: tuple[str, ...],
    destination: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> int:
    r"""Ask workers something and print each answer as it comes; exit code 69 when nobody answers.

    \b
    amqtask inspect active                   what runs
    amqtask inspect stats -d w1@host --json  numbers of one worker
    amqtask inspect --list                   all there is to ask
    """
    return ask(setup, "inspect", (command, *arguments), destination=destination, timeout=timeout, as_json=as_json)


COMMAND = inspect
