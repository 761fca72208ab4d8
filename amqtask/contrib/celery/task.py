"""Celery's Task class, to be a base of one's own. Owns what it has beside amqtask's hooks."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from amqtask.contrib.celery.absent import Unavailable
from amqtask.contrib.celery.sending import take
from amqtask.tasks.context import Context
from amqtask.tasks.hooks import BaseTask
from amqtask.tasks.option_values import refuse_unknown
from amqtask.tasks.options import CELERY_SEND_OPTIONS, TaskOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from amqtask.app.app import Amqtask
    from amqtask.errors import Retry
    from amqtask.results.future import AsyncResult
    from amqtask.tasks.sender import Call

_OPTIONS: Final = frozenset(item.name for item in fields(TaskOptions)) - {"bind"}
_SETTINGS: Final = {
    "acks_late": "task_acks_late",
    "ignore_result": "task_ignore_result",
    "priority": "task_default_priority",
    "serializer": "task_serializer",
}
"""Options for which a setting stands in."""
_WORDS: Final = {"rate_limit": str}
"""Options that are kept in another form than Celery's."""


class Request(Context):
    """``self.request`` with times as texts, as Celery has them; it takes further attributes."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for name in ("eta", "expires"):
            if (moment := getattr(self, name)) is not None:
                setattr(self, name, moment.isoformat())


class Task(BaseTask):
    """A task as Celery's programs know it. Subclasses may define hooks, attributes, ``__call__`` and ``run``.

    Options of a task (``max_retries``, ``autoretry_for``, ``queue``, ...) may be attributes of the class, and can be
    read as such.
    """

    abstract = True
    app: Any
    request_type = Request
    _send_options = CELERY_SEND_OPTIONS

    def __getattr__(self, name: str) -> Any:
        if name not in _OPTIONS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = getattr(self.options, name)
        if value is None and name in _SETTINGS:
            return getattr(self.app.settings, _SETTINGS[name])
        return value if value is None or name not in _WORDS else _WORDS[name](value)

    @staticmethod
    def _check_retry(given: Mapping[str, Any]) -> None:
        refuse_unknown(given, CELERY_SEND_OPTIONS, "option")

    @property
    def backend(self) -> Any:
        """As :attr:`amqtask.contrib.celery.Celery.backend`."""
        return self.app.backend

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:  # noqa: N802 -- Celery's name
        """The handle of one sending of this task."""
        return cast("Amqtask", self.app).AsyncResult(task_id)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,  # noqa: ARG002 -- Celery's
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any:
        """Like :meth:`amqtask.tasks.task.Task.apply_async`, with Celery's options; those that say how to send go."""
        given = {"task_id": task_id, "link": link, "link_error": link_error, "shadow": shadow}
        options.update({name: value for name, value in given.items() if value is not None})
        take(options)
        return super().apply_async(args or (), kwargs, **options)

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | str | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Like :meth:`amqtask.tasks.task.Task.retry`, with the options of :meth:`apply_async`."""
        take(options)
        options.pop("task_id", None)  # it stays the same task
        due = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
        return super().retry(args, kwargs, exc, throw, countdown=countdown, eta=due, max_retries=max_retries, **options)

    def update_state(  # type: ignore[override]
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_more: Any
    ) -> None:
        """Like :meth:`amqtask.tasks.task.Task.update_state`.

        Raises:
            TypeError: no state is given.
            Unavailable: ``task_id`` is another task's.
        """
        if state is None:
            raise TypeError("update_state() needs state=...; as in Celery, the first argument is the task's id")
        if task_id is not None and task_id != self.request.id:
            raise Unavailable("update_state(task_id=...): a task of amqtask tells its own state only")
        super().update_state(state, meta)

    def _check_call(self, args: Any, kwargs: Mapping[str, Any] | None, options: Any) -> Call:
        take(cast("MutableMapping[str, Any]", options))
        return super()._check_call(args or (), kwargs, options)
