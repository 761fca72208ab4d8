"""``amqtask routes``: where a task goes, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.command import JSON_OPTION, Group
from amqtask.cli.output import ABSENT, print_json, print_table

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.cli.setup import Setup


@click.group("routes", cls=Group, short_help="Show where tasks go, and why.")
def routes() -> None:
    """Look at the routes of the topology."""


@routes.command("show", short_help="Where a task goes; without a name: all routes.")
@click.argument("task", required=False)
@JSON_OPTION
@click.pass_obj
def show(setup: Setup, task: str | None, as_json: bool) -> None:
    """Show where TASK goes and which rule decides; without TASK list all routes, first match first.

    With -A, the options of the task itself (queue, exchange, priority) count too, as they do when it is
    called.
    """
    app = setup.load()
    if task is None:
        rows = _all(app)
        if as_json:
            print_json(rows)
        else:
            _print_all(setup, rows)
        return
    if setup.app_path:
        app.load_tasks()
    found = _one(app, task)
    if as_json:
        print_json(found)
        return
    labels = {"task": "Task", "exchange": "Exchange", "routing_key": "Routing key", "priority": "Priority"}
    for key, label in labels.items():
        print(f"{label + ':':<13}{_shown(key, found[key])}")
    print(f"{'Queues:':<13}{', '.join(found['queues']) or 'none: sending this task fails (Unroutable)'}")
    print(f"{'Because:':<13}{found['why']}")


def _print_all(setup: Setup, rows: list[dict[str, Any]]) -> None:
    cells = [[_shown(key, value) for key, value in row.items()] for row in rows]
    print_table(setup, ("task", "exchange", "routing key", "priority", "queues"), cells, ("priority",))


def _shown(key: str, value: Any) -> str:
    if key == "exchange" and value == "":
        return "(default)"
    return ABSENT if value is None else str(value)


def _all(app: Amqtask) -> list[dict[str, Any]]:
    topology = app.topology
    rows = [
        {
            "task": route.task,
            "exchange": route.exchange or "",
            "routing_key": route.queue if route.queue is not None else route.routing_key or "",
            "priority": route.priority,
            "queues": ", ".join(_reached(app, route.exchange or "", route.queue or route.routing_key or "")),
        }
        for route in topology.routes
    ]
    default = topology.default_queue.name
    rest = {
        "task": "(any other)",
        "exchange": "",
        "routing_key": default,
        "priority": None,
        "queues": default,
    }
    return [*rows, rest]


def _reached(app: Amqtask, exchange: str, key: str) -> list[str]:
    return list(app.router.queues_for(exchange, key))


def _one(app: Amqtask, name: str) -> dict[str, Any]:
    routing = app.router.route(name)
    why, priority = routing.why, routing.priority
    exchange, key = routing.exchange, routing.routing_key
    declared = app.tasks.get(name)
    if declared is not None:
        from amqtask.app.destination import task_destination  # noqa: PLC0415

        exchange, key = task_destination(routing, declared.options)
        if (exchange, key) != (routing.exchange, routing.routing_key):
            why = "the task's own options say so"
        priority = priority if declared.options.priority is None else declared.options.priority
    return {
        "task": name,
        "exchange": exchange,
        "routing_key": key,
        "priority": priority,
        "queues": _reached(app, exchange, key),
        "why": why,
    }


COMMAND = routes
