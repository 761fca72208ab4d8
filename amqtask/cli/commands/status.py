"""``amqtask status``: which workers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.command import Command
from amqtask.cli.remote import DESTINATION_OPTION, JSON_OPTION, TIMEOUT_OPTION, show

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup


@click.command("status", cls=Command, short_help="Show which workers are there.")
@DESTINATION_OPTION
@TIMEOUT_OPTION
@JSON_OPTION
@click.pass_obj
def status(setup: Setup, destination: tuple[str, ...], timeout: float, as_json: bool) -> int:
    """List the workers that answer; exit code 69 when there is none."""
    return show(
        setup,
        setup.load("nothing"),
        "ping",
        {},
        destination=destination,
        timeout=timeout,
        as_json=as_json,
        line=lambda node, value: f"{node}: {'OK' if value == {'ok': 'pong'} else value}",
    )


COMMAND = status
