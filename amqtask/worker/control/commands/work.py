"""Commands about tasks: which there are, what runs, what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.control.registry import inspect_command
from amqtask.worker.control import words
from amqtask.worker.control.requests import info, running, waiting

if TYPE_CHECKING:
    from amqtask.control.registry import Panel

_ATTRIBUTES = ("exchange", "routing_key", "rate_limit")


@inspect_command(args=[("safe", words.flag)], signature="[safe=no]")
def active(panel: Panel, safe: Any = False, **_: Any) -> list[dict[str, Any]]:
    """Tasks that run."""
    return [info(panel, delivery, begun, safe=bool(safe)) for delivery, begun in running(panel)]


@inspect_command()
def reserved(panel: Panel, **_: Any) -> list[dict[str, Any]]:
    """Tasks that the worker holds and has not started."""
    return [info(panel, delivery) for delivery in waiting(panel)]


@inspect_command()
def scheduled(panel: Panel, **_: Any) -> list[dict[str, Any]]:  # noqa: ARG001 -- every command gets the panel
    """Tasks that the worker holds for later: none, the broker holds them."""
    return []


@inspect_command(variadic="ids", signature="ID...")
def query_task(panel: Panel, ids: Any, **_: Any) -> dict[str, Any]:
    """Tasks by id, with their state."""
    wanted = set(words.names(ids))
    found: dict[str, Any] = {}
    for delivery in waiting(panel):
        if delivery.id in wanted:
            found[delivery.id] = ["reserved", info(panel, delivery)]
    for delivery, begun in running(panel):
        if delivery.id in wanted:
            found[delivery.id] = ["active", info(panel, delivery, begun)]
    return found


@inspect_command(variadic="taskinfoitems", signature="[ATTRIBUTE...]")
def registered(panel: Panel, taskinfoitems: Any = None, builtins: bool = False, **_: Any) -> list[str]:
    """Names of tasks, with attributes where they are set."""
    wanted = [name for name in words.names(taskinfoitems) or _ATTRIBUTES if not name.startswith("_")]
    tasks = panel.app.tasks
    return [_described(tasks[name], wanted) for name in sorted(tasks) if builtins or not name.startswith("celery.")]


def _described(task: Any, wanted: Any) -> str:
    values = ((name, _attribute(task, name)) for name in wanted)
    told = " ".join(f"{name}={value}" for name, value in values if value is not None)
    return f"{task.name} [{told}]" if told else str(task.name)


def _attribute(task: Any, name: str) -> Any:
    value = getattr(task, name, None)
    return getattr(task.options, name, None) if value is None else value
