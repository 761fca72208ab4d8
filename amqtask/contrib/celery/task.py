"""Celery's Task class, to be a base of one's own. Owns what it has beside amqtask's hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from amqtask.tasks.hooks import BaseTask

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.results.future import AsyncResult

_HARMLESS = frozenset({"retry", "retry_policy", "producer", "connection", "add_to_parent", "argsrepr", "kwargsrepr"})
"""Options of Celery's ``apply_async`` that say how to send; amqtask always retries and confirms."""


class Task(BaseTask):
    """A task as Celery's programs know it. Subclasses may define hooks, attributes, ``__call__`` and ``run``.

    Options of a task (``max_retries``, ``autoretry_for``, ``queue``, ...) may be attributes of the class.
    """

    abstract = True
    app: Any

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:  # noqa: N802 -- Celery's name
        """The handle of one sending of this task."""
        return cast("Amqtask", self.app).AsyncResult(task_id)

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        """Like :meth:`amqtask.tasks.task.Task.apply_async`; options that say how to send are left out."""
        kept = {name: value for name, value in options.items() if name not in _HARMLESS}
        return super().apply_async(args or (), kwargs, **kept)
