"""``amqtask control``: steer running workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.remote import DESTINATION_OPTION, JSON_OPTION, TIMEOUT_OPTION, ask, list_option

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("control", cls=Command, short_help="Steer running workers.")
@click.argument("command")
@click.argument("arguments", nargs=-1)
@DESTINATION_OPTION
@TIMEOUT_OPTION
@JSON_OPTION
@list_option("control")
@click.pass_obj
def control(
    setup: Setup,
    command: str,
    arguments: tuple[str, ...],
    destination: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> int:
    r"""Change something in workers and print each answer as it comes; exit code 69 when nobody answers.

    \b
    amqtask control revoke 0190c0de-...        a task must not run any more
    amqtask control rate_limit shop.mail 10/m  not more often than that
    amqtask control pool_grow 2 -d w1@host     more slots in one worker
    amqtask control --list                     all that can be changed
    """
    return ask(setup, "control", (command, *arguments), destination=destination, timeout=timeout, as_json=as_json)


COMMAND = control
