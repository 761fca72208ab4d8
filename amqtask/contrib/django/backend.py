"""The backend of ``django.tasks`` (Django 6): what ``@task`` declares is a task of the project's app. Owns both ways.

A task is named by the path of its function, so routes, logs and dead letters know it by that. Its ``queue_name`` is a
queue of amqtask, but for ``default``: then routes decide. Its priority, -100 to 100, becomes 0 to 9.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Warning  # noqa: A004 -- Django's name
from django.core.exceptions import ImproperlyConfigured
from django.tasks import DEFAULT_TASK_QUEUE_NAME, Task, TaskContext, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TASK_MAX_PRIORITY, TASK_MIN_PRIORITY, TaskError
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone
from django.utils.module_loading import import_string

from amqtask.contrib.django.project import find_project_app
from amqtask.results import states
from amqtask.results.eager import EagerResult
from amqtask.signals import task_failure, task_postrun, task_prerun, task_success
from amqtask.wire.ids import born, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HIGHEST = 9
_STATUS = {
    states.SUCCESS: TaskResultStatus.SUCCESSFUL,
    states.FAILURE: TaskResultStatus.FAILED,
    states.REVOKED: TaskResultStatus.FAILED,
    states.DEAD: TaskResultStatus.FAILED,
    states.STARTED: TaskResultStatus.RUNNING,
}
"""All others are READY."""
_ABSENT = frozenset({states.PENDING, states.UNKNOWN, states.EXPIRED})

_declared: dict[str, Task] = {}
"""Tasks by path, for all backends: Django makes one for each thread."""
_begun: dict[str, datetime] = {}
"""When the attempts that run in this process began, by id."""


class AmqtaskBackend(BaseTaskBackend):  # type: ignore[misc]
    """``TASKS = {"default": {"BACKEND": "amqtask.contrib.django.tasks.AmqtaskBackend"}}``."""

    supports_defer = True
    supports_async_task = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        app = find_project_app()
        if app is None:
            raise ImproperlyConfigured("TASKS: there is no app of amqtask; write one beside the settings")
        self._app = app

    @property
    def supports_get_result(self) -> bool:
        """Whether every process can read results: there is a ``result_backend``, and it is not ``rpc://``."""
        backend = self._app.results_backend
        return backend is not None and not backend.by_message

    def validate_task(self, task: Task) -> None:
        """Look at a task, and declare it; Django calls this for every one that is made."""
        super().validate_task(task)
        if task.module_path not in _declared:
            bound = task.takes_context
            self._app.task(name=task.module_path, bind=bound)(_with_context(task) if bound else task.func)
            _declared[task.module_path] = task

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Send a task; returns once the broker has confirmed it."""
        self.validate_task(task)
        made = _result(task, new_id(), args, kwargs)
        sent = self._app.tasks[task.module_path].apply_async(made.args, made.kwargs, task_id=made.id, **_options(task))
        _set(made, enqueued_at=timezone.now())
        task_enqueued.send(AmqtaskBackend, task_result=made)
        return _with_end(made, sent)

    async def aenqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Like :meth:`enqueue`, without blocking the running loop."""
        self.validate_task(task)
        made = _result(task, new_id(), args, kwargs)
        sent = await self._app.tasks[task.module_path].aapply_async(
            made.args, made.kwargs, task_id=made.id, **_options(task)
        )
        _set(made, enqueued_at=timezone.now())
        await task_enqueued.asend(AmqtaskBackend, task_result=made)
        return _with_end(made, sent)

    def get_result(self, result_id: str) -> TaskResult:
        """What is stored of a task; its arguments are not, and read as none.

        Raises:
            TaskResultDoesNotExist: nothing is stored, or not of one of Django's tasks. Before the end something is
                stored with the setting ``result_track_sent``.
        """
        if not self.supports_get_result:
            return super().get_result(result_id)
        found = self._app.AsyncResult(result_id)
        name = None if found.state in _ABSENT else found.name
        try:
            task = import_string(name or "")
        except ImportError:
            task = None
        if not isinstance(task, Task):
            raise TaskResultDoesNotExist(result_id)
        made = _result(task, result_id, (), {})
        _set(made, enqueued_at=_birth(result_id))
        _fill(made, found)
        return made

    def check(self, **_: Any) -> list[CheckMessage]:
        """``amqtask.W002``: results could be read, but not of tasks that are on their way."""
        if not self.supports_get_result or self._app.settings.result_track_sent:
            return []
        return [
            Warning(
                f"TASKS[{self.alias!r}]: get_result() and refresh() know no task before its end.",
                hint="Set AMQTASK_RESULT_TRACK_SENT = True.",
                id="amqtask.W002",
            )
        ]


def _options(task: Task) -> dict[str, Any]:
    width = TASK_MAX_PRIORITY - TASK_MIN_PRIORITY
    options: dict[str, Any] = {"priority": (task.priority - TASK_MIN_PRIORITY) * _HIGHEST // width}
    if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
        options["queue"] = task.queue_name
    if task.run_after is not None:
        due = task.run_after
        options["eta"] = due if timezone.is_aware(due) else timezone.make_aware(due)
    return options


def _result(task: Task, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
    return TaskResult(
        task=task,
        id=task_id,
        status=TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=list(args),
        kwargs=dict(kwargs),
        backend=task.backend,
        errors=[],
        worker_ids=[],
    )


def _set(made: TaskResult, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(made, name, value)  # frozen, and meant to be filled in like this


def _with_end(made: TaskResult, sent: Any) -> TaskResult:
    if isinstance(sent, EagerResult):
        _fill(made, sent)
    return made


def _birth(task_id: str) -> datetime | None:
    birth = born(task_id)
    return None if birth is None else datetime.fromtimestamp(birth, UTC)


def _fill(made: TaskResult, found: Any) -> None:
    """What is known of its end, or of its run."""
    status, ended = _STATUS.get(found.state, TaskResultStatus.READY), found.date_done
    _set(made, status=status)
    if found.worker:
        _set(made, worker_ids=[found.worker] * ((found.retries or 0) + 1))
    if ended is not None:
        began = ended - timedelta(seconds=found.runtime or 0)
        _set(made, finished_at=ended, started_at=began, last_attempted_at=began)
    if status == TaskResultStatus.SUCCESSFUL:
        _set(made, _return_value=found.result)
    elif status == TaskResultStatus.FAILED:
        _set(made, errors=[_error(found.result, found.traceback)])


def _error(raised: Any, traceback: str | None) -> TaskError:
    kind = type(raised)
    return TaskError(exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback=traceback or str(raised))


# ---- in workers


def _with_context(task: Task) -> Callable[..., Any]:
    """Its function, as a bound task of amqtask: who gets the context first."""
    function = task.func
    if iscoroutinefunction(function):

        @wraps(function)
        async def arun(running: Any, *args: Any, **kwargs: Any) -> Any:
            return await function(TaskContext(task_result=_running(running)), *args, **kwargs)

        return arun

    @wraps(function)
    def run(running: Any, *args: Any, **kwargs: Any) -> Any:
        return function(TaskContext(task_result=_running(running)), *args, **kwargs)

    return run


def _running(running: Any) -> TaskResult:
    """The attempt that runs here and now."""
    request = running.request
    task_id = request.id or new_id()
    made = _result(_declared[running.name], task_id, request.args, request.kwargs)
    began = _begun.get(task_id) or timezone.now()
    _set(made, enqueued_at=_birth(task_id), started_at=began, last_attempted_at=began)
    _set(made, status=TaskResultStatus.RUNNING, worker_ids=[request.hostname or ""] * (request.retries + 1))
    return made


@task_prerun.connect
def _begins(sender: Any, **_: Any) -> None:
    if sender.name in _declared:
        if sender.request.id:
            _begun[sender.request.id] = timezone.now()
        task_started.send(AmqtaskBackend, task_result=_running(sender))


@task_postrun.connect
def _has_run(task_id: str, **_: Any) -> None:
    _begun.pop(task_id, None)


@task_success.connect
def _succeeds(sender: Any, result: Any, **_: Any) -> None:
    _ends(sender, TaskResultStatus.SUCCESSFUL, _return_value=result)


@task_failure.connect
def _fails(sender: Any, exception: BaseException, einfo: Any, **_: Any) -> None:
    _ends(sender, TaskResultStatus.FAILED, errors=[_error(exception, str(einfo.traceback))])


def _ends(sender: Any, status: TaskResultStatus, **values: Any) -> None:
    if sender.name in _declared:
        made = _running(sender)
        _set(made, status=status, finished_at=timezone.now(), **values)
        task_finished.send(AmqtaskBackend, task_result=made)
