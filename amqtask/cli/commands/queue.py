"""``amqtask queue``: how full the queues are, and pausing them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from amqtask.cli.broker import open_admin
from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.output import count, print_json, print_table, say

if TYPE_CHECKING:
    from amqtask.cli.setup import Setup

_BLOCKED = 1.0
"""Seconds to wait for a broker that blocks publishers; only what is paused is asked by publishing."""

NUMBERS = ("ready", "consumers", "retrying", "dead")


@click.group("queue", cls=Group, short_help="Show how full the queues are; pause them.")
def queue() -> None:
    """Look at the queues of the topology, and pause them."""


@queue.command("list", short_help="Messages and consumers per queue.")
@JSON_OPTION
@click.pass_obj
def list_(setup: Setup, as_json: bool) -> None:
    """Show each queue: messages ready, consumers, retries that wait for their time, dead letters.

    Messages that a worker holds are not counted: RabbitMQ tells their number only through its management
    interface.
    """
    from amqtask.app.queues import look  # noqa: PLC0415 -- --help needs none of it

    app = setup.load()
    with open_admin(app, blocked_timeout=_BLOCKED) as admin:
        fill = look(admin, app.topology)
    paused, delayed = fill.paused, fill.delayed
    rows = [asdict(one) | {"paused": None if paused is None else one.queue in paused} for one in fill.queues]
    if as_json:
        print_json({"queues": rows, "delayed": delayed})
        return
    print_table(setup, ("queue", *NUMBERS), [[row[key] for key in ("queue", *NUMBERS)] for row in rows], NUMBERS)
    if delayed:
        print(f"{count(delayed, 'message')} on the way by the delay ladder (countdown, eta, backoff, unknown tasks)")
    if paused is None:
        say(setup, "The broker blocks publishers (memory or disk alarm), so it can't be asked which queues are paused.")
    if paused:
        print(f"Paused: {', '.join(sorted(paused))}. 'amqtask queue resume NAME' goes on.")
    if missing := [row["queue"] for row in rows if row["ready"] is None]:
        say(
            setup,
            f"Not on the broker yet: {', '.join(missing)}. 'amqtask topology apply' makes them; so does use.",
        )


@queue.command("pause", short_help="Have no worker start anything of a queue.")
@click.argument("name")
@click.pass_obj
def pause(setup: Setup, name: str) -> None:
    """Have no worker start anything of the queue NAME, those that start later included, until 'queue resume'.

    What runs goes on; what was taken and not started goes back. Messages may still be sent to it.
    """
    from amqtask.topology.queue_names import check_queue_name  # noqa: PLC0415 -- --help needs none of it

    app = setup.load()
    check_queue_name(app.topology, name)
    app.control.pause(name)
    print(f"{name} is paused")


@queue.command("resume", short_help="Go on with a paused queue.")
@click.argument("name")
@click.pass_obj
def resume(setup: Setup, name: str) -> None:
    """Go on with the paused queue NAME."""
    from amqtask.topology.queue_names import check_queue_name  # noqa: PLC0415 -- --help needs none of it

    app = setup.load()
    check_queue_name(app.topology, name)
    app.control.resume(name)
    print(f"{name} is no longer paused")


COMMAND = queue
