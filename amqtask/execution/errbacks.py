"""Errbacks that get the exception itself: called where the task has failed, as Celery does. Owns the call."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from amqtask.canvas.shapes import kind
from amqtask.canvas.starting import COMPOSED
from amqtask.tasks.context import Context, running
from amqtask.wire.message import strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amqtask.canvas.after import Errback
    from amqtask.canvas.shapes import Shape
    from amqtask.tasks.task import Task
    from amqtask.wire.message import TaskMessage

logger = logging.getLogger("amqtask.task")


_GIVEN = 3
"""Request, exception and traceback."""


def takes_exception(task: Task[..., Any] | None, signature: Shape) -> bool:
    """Whether an errback is of the kind ``errback(request, exception, traceback)``, beside its own arguments.

    All others are sent, with the id of the task that failed: tasks that take less, and compositions, whose parts have
    to be planned (the built-in tasks of their names start them from a message only).
    """
    if task is None or task.is_async or kind(signature) != "task" or signature["task"] in COMPOSED:
        return False
    try:
        parameters = inspect.signature(task.run).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return True
    named = signature.get("kwargs") or {}
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    free = sum(one.name not in named for one in positional) - len(signature.get("args") or ())
    return free >= _GIVEN


def errbacks_of(tasks: Mapping[str, Task[..., Any]]) -> Callable[[Shape], bool]:
    """Tells of the errbacks of an app whether they take the exception."""
    return lambda errback: takes_exception(tasks.get(errback["task"]), errback)


def call(
    task: Task[..., Any], errback: Errback, message: TaskMessage, error: BaseException, traceback: str | None
) -> None:
    """Call an errback; what it raises is logged. Runs once more when the message is delivered again."""
    request = Context(
        message.task,
        errback.task_id,
        message.args,
        message.kwargs,
        message.retries,
        headers=strip_broker_headers(message.headers),
        root_id=message.root_id or message.id,
        parent_id=message.parent_id,
        message=message,
    )
    signature = errback.signature
    args = () if signature.get("immutable") else (request, error, traceback)
    try:
        with running(Context(task.name, called_directly=True)):
            task.run(*args, *(signature.get("args") or ()), **(signature.get("kwargs") or {}))
    except BaseException:
        logger.exception("Errback %s of %s[%s] failed", task.name, message.task, errback.task_id)
