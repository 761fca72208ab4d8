"""``amqtask queue``: how full the queues are, and pausing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.broker import check_queue_name, open_admin
from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.output import count, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.broker.admin import Admin
    from amqtask.cli.setup import Setup
    from amqtask.topology.declarations import Queue

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
    app = setup.load()
    with open_admin(app, blocked_timeout=_BLOCKED) as admin:
        rows = [_row(admin, declared) for declared in app.topology.queues.values()]
        delayed = _delayed(admin)
        paused = _paused(admin, app.topology.queues)
    for row in rows:
        row["paused"] = None if paused is None else row["queue"] in paused
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
    app = setup.load()
    check_queue_name(app.topology, name)
    app.control.pause(name)
    print(f"{name} is paused")


@queue.command("resume", short_help="Go on with a paused queue.")
@click.argument("name")
@click.pass_obj
def resume(setup: Setup, name: str) -> None:
    """Go on with the paused queue NAME."""
    app = setup.load()
    check_queue_name(app.topology, name)
    app.control.resume(name)
    print(f"{name} is no longer paused")


def _paused(admin: Admin, names: Iterable[str]) -> set[str] | None:
    """Those that are paused; None when the broker can't be asked. Last of all: the connection is gone then."""
    from amqtask.control.pauses import paused  # noqa: PLC0415 -- loads pika
    from amqtask.errors import BrokerBlocked  # noqa: PLC0415

    try:
        return paused(admin, names)
    except BrokerBlocked:
        return None


def _row(admin: Admin, declared: Queue) -> dict[str, Any]:
    from amqtask.topology.delays import dead_name, exact_delays, retry_name  # noqa: PLC0415

    state = admin.queue_state(declared.name)
    waiting = [_ready(admin, retry_name(declared.name, delay)) for delay in exact_delays(declared)]
    return {
        "queue": declared.name,
        "ready": None if state is None else state.ready,
        "consumers": None if state is None else state.consumers,
        "retrying": sum(number or 0 for number in waiting),
        "dead": _ready(admin, dead_name(declared.name)),
    }


def _ready(admin: Admin, name: str) -> int | None:
    state = admin.queue_state(name)
    return None if state is None else state.ready


def _delayed(admin: Admin) -> int | None:
    """Messages in the delay ladder, whatever app they belong to; None when it was never used."""
    from amqtask.topology.declarations import QueueDeclare  # noqa: PLC0415
    from amqtask.topology.delays import LEVELS, ladder_steps  # noqa: PLC0415

    # levels are made from the bottom up, so the first queue that is missing ends the search
    total = None
    for step in ladder_steps(LEVELS - 1):
        if isinstance(step, QueueDeclare):
            ready = _ready(admin, step.name)
            if ready is None:
                break
            total = (total or 0) + ready
    return total


COMMAND = queue
