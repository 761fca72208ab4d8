"""Celery's Task class, to be a base of one's own: hooks, attributes and ``__call__``. Owns what they mean here.

A worker calls ``run``; this one runs the hooks around the function. They run in the worker's process or thread, in
every attempt; what a hook raises is logged and changes nothing. A function called directly runs without them.
"""

from __future__ import annotations

import functools
import logging
import traceback
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from amqtask.errors import Ignore, Reject
from amqtask.tasks.context import current
from amqtask.tasks.retry import Verdict, next_delay
from amqtask.tasks.task import AsyncTask
from amqtask.tasks.task import Task as BaseTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from amqtask.app.app import Amqtask
    from amqtask.results.future import AsyncResult
    from amqtask.tasks.context import Context
    from amqtask.tasks.options import TaskOptions

logger = logging.getLogger(__name__)

_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")
_HARMLESS = frozenset({"retry", "retry_policy", "producer", "connection", "add_to_parent", "argsrepr", "kwargsrepr"})
"""Options of Celery's ``apply_async`` that say how to send; amqtask always retries and confirms."""

_entered: ContextVar[Context | None] = ContextVar("amqtask_celery_entered", default=None)


class ExceptionInfo(NamedTuple):
    """What hooks are told of an exception, beside itself; ``str()`` is its traceback."""

    type: type[BaseException]
    exception: BaseException
    tb: TracebackType | None

    @property
    def traceback(self) -> str:
        """As Python prints it."""
        return "".join(traceback.format_exception(self.exception))

    def __str__(self) -> str:
        return self.traceback


class Task(BaseTask[..., Any]):
    """A task as Celery's programs know it. Subclasses may define hooks, attributes, ``__call__`` and ``run``.

    Options of a task (``max_retries``, ``autoretry_for``, ``queue``, ...) may be attributes of the class.
    """

    abstract = True
    app: Any

    def __init__(self) -> None:
        """Nothing is to be done; there for subclasses to call."""

    @classmethod
    def made(cls, function: Callable[..., Any], name: str, options: TaskOptions, app: Amqtask) -> Task:
        """A task of this class that runs a function."""
        kind: type[Task] = cls
        if iscoroutinefunction(function) and not issubclass(cls, AsyncTask):
            kind = cast("type[Task]", type(cls.__name__, (cls, AsyncTask), {"__module__": cls.__module__}))
        task = kind.__new__(kind)
        task._raw = None  # noqa: SLF001 -- the same class
        BaseTask.__init__(task, function, name, options, lambda: app.producer, app)
        task._raw = task.run  # noqa: SLF001
        if task._is_special():  # noqa: SLF001
            task.run = task._around() if not task.is_async else task._around_async()  # noqa: SLF001
        task.__init__()  # type: ignore[misc]
        return task

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here; inside of a worker's call of this task, as part of that."""
        context = current()
        if context is not None and context is _entered.get():
            return cast("Callable[..., Any]", self._raw)(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:  # noqa: N802 -- Celery's name
        """The handle of one sending of this task."""
        return cast("Amqtask", self.app).AsyncResult(task_id)

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        """Like :meth:`amqtask.tasks.task.Task.apply_async`; options that say how to send are left out."""
        kept = {name: value for name, value in options.items() if name not in _HARMLESS}
        return super().apply_async(args or (), kwargs, **kept)

    # ---- hooks

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """The function is about to be called."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """It has returned."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: dict[str, Any], einfo: ExceptionInfo
    ) -> None:
        """It has raised, and no retry follows."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: dict[str, Any], einfo: ExceptionInfo
    ) -> None:
        """It has raised, and will be tried again."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        einfo: ExceptionInfo | None,
    ) -> None:
        """It has returned or raised; called after the other hook."""

    # ---- around the function

    _raw: Callable[..., Any] | None = None

    def _is_special(self) -> bool:
        names = (*_HOOKS, "__call__")
        return any(getattr(type(self), name) is not getattr(Task, name) for name in names)

    def _entry(self) -> Callable[..., Any]:
        """What runs inside of the hooks: ``__call__`` where a subclass has one."""
        return cast("Callable[..., Any]", self._raw if type(self).__call__ is Task.__call__ else self.__call__)

    def _around(self) -> Callable[..., Any]:
        raw = cast("Callable[..., Any]", self._raw)

        @functools.wraps(raw)
        def run(*args: Any, **kwargs: Any) -> Any:
            context = current()
            if context is None or context.called_directly or context is _entered.get():
                return raw(*args, **kwargs)
            token = _entered.set(context)
            try:
                self._hook("before_start", context)
                result = self._entry()(*args, **kwargs)
            except BaseException as error:
                self._raised(context, error)
                raise
            finally:
                _entered.reset(token)
            self._returned(context, result)
            return result

        return run

    def _around_async(self) -> Callable[..., Any]:
        raw = cast("Callable[..., Any]", self._raw)

        @functools.wraps(raw)
        async def run(*args: Any, **kwargs: Any) -> Any:
            context = current()
            if context is None or context.called_directly or context is _entered.get():
                return await raw(*args, **kwargs)
            token = _entered.set(context)
            try:
                self._hook("before_start", context)
                result = await self._entry()(*args, **kwargs)
            except BaseException as error:
                self._raised(context, error)
                raise
            finally:
                _entered.reset(token)
            self._returned(context, result)
            return result

        return run

    def _returned(self, context: Context, result: Any) -> None:
        self._hook("on_success", context, result)
        self._hook("after_return", context, "SUCCESS", result, after=(None,))

    def _raised(self, context: Context, error: BaseException) -> None:
        if isinstance(error, Ignore | Reject) or not isinstance(error, Exception | SystemExit):
            return
        policy = None if context.queue is None else self._sender().retry_policy(context.queue)
        decision = next_delay(self, policy, context.retries, error, exhausted=context.exhausted)
        cause = decision.error
        info = ExceptionInfo(type(cause), cause, cause.__traceback__)
        again = decision.verdict is Verdict.RETRY
        self._hook("on_retry" if again else "on_failure", context, cause, after=(info,))
        self._hook("after_return", context, "RETRY" if again else "FAILURE", cause, after=(info,))

    def _hook(self, name: str, context: Context, *first: Any, after: tuple[Any, ...] = ()) -> None:
        hook = getattr(self, name)
        try:
            hook(*first, context.id, context.args, dict(context.kwargs), *after)
        except Exception:
            logger.exception("%s of %s[%s] failed", name, self.name, context.id)
