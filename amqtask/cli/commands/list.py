"""``amqtask list``: what is declared, in short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.cli.setup import Setup


@click.group("list", cls=Group, short_help="List what is declared.")
def list_() -> None:
    """List what the topology declares."""


@list_.command("bindings", short_help="Which queue gets the messages of which exchange and key.")
@JSON_OPTION
@click.pass_obj
def bindings(setup: Setup, as_json: bool) -> None:
    """Show queue, exchange and routing key of every binding, without asking the broker.

    A queue without bindings of its own is reached by its name, through the broker's default exchange.
    """
    declared = setup.load().topology.queues.values()
    rows = [
        {
            "queue": queue.name,
            "exchange": one.exchange,
            "routing_key": one.routing_key,
            "arguments": dict(one.arguments),
        }
        for queue in declared
        for one in queue.bindings
    ]
    bound = {row["queue"] for row in rows}
    rows += [
        {"queue": queue.name, "exchange": "", "routing_key": queue.name, "arguments": {}}
        for queue in declared
        if queue.name not in bound
    ]
    if as_json:
        print_json({"bindings": rows})
        return
    shown = [(row["queue"], row["exchange"] or "(default)", row["routing_key"], _arguments(row)) for row in rows]
    print_table(setup, ("queue", "exchange", "routing key", "arguments"), shown)


def _arguments(row: Mapping[str, object]) -> str:
    given = row["arguments"]
    return ", ".join(f"{name}={value}" for name, value in given.items()) if isinstance(given, dict) else ""


COMMAND = list_
