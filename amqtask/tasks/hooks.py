"""Tasks with a class of their own: hooks, attributes and ``__call__``. Owns what these mean.

A worker calls ``run``; this class runs the hooks around the function. A function called directly runs without them.
"""

from __future__ import annotations

import functools
import logging
from contextvars import ContextVar
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any, Self, cast

from amqtask.errors import Ignore, Reject
from amqtask.tasks.context import current
from amqtask.tasks.exception_info import ExceptionInfo
from amqtask.tasks.retry import Verdict, next_delay
from amqtask.tasks.task import AsyncTask, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.canvas.app import CanvasApp
    from amqtask.tasks.context import Context
    from amqtask.tasks.options import TaskOptions
    from amqtask.tasks.sender import Sender

    HookCall = tuple[str, tuple[Any, ...], tuple[Any, ...]]
    """Name of a hook, its arguments before ``task_id, args, kwargs``, and those after."""

logger = logging.getLogger(__name__)

_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")

_entered: ContextVar[Context | None] = ContextVar("amqtask_hooks_entered", default=None)


class BaseTask(Task[..., Any]):
    """To be subclassed, for ``@app.task(base=MyTask)``. Subclasses may define hooks, attributes and ``__call__``.

    Hooks run in every attempt, in the thread or loop that runs the function, and within its time limits. All of them
    run before the result is stored and before anything follows from it: when the worker dies then, or the message
    comes again for another reason, the task runs once more, and its hooks with it. What a hook raises is logged and
    changes nothing.

    After ``before_start`` either ``on_success``, ``on_failure`` or ``on_retry`` is called, then ``after_return``; none
    of these when the task raises ``Ignore`` or ``Reject``, is stopped by its hard time limit, or its worker is lost.
    ``exc`` is what the function has raised; of ``self.retry(exc=...)`` it is that cause.

    Around an ``async def`` function hooks may be ``async def`` as well.
    """

    def __init__(self) -> None:
        """Does nothing; there for subclasses to call."""

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        name: str,
        options: TaskOptions,
        sender: Callable[[], Sender],
        app: CanvasApp | None,
    ) -> Self:
        """A task of this class that runs a function; arguments as of :class:`~amqtask.tasks.task.Task`."""
        kind: type[Self] = cls
        if iscoroutinefunction(function) and not issubclass(cls, AsyncTask):
            kind = cast("type[Self]", type(cls.__name__, (cls, AsyncTask), {"__module__": cls.__module__}))
        task = kind.__new__(kind)
        task._raw_function = None  # noqa: SLF001 -- the same class
        Task.__init__(task, function, name, options, sender, app)
        task._raw_function = task.run  # noqa: SLF001
        if task._has_hooks():  # noqa: SLF001
            task.run = task._with_hooks() if not task.is_async else task._with_async_hooks()  # noqa: SLF001
        task.__init__()  # type: ignore[misc]
        return task

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function here; inside of a worker's call of this task, as part of that."""
        context = current()
        if context is not None and context is _entered.get():
            return cast("Callable[..., Any]", self._raw_function)(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    # ---- hooks

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Called before the function."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Called when the function has returned ``retval``."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: dict[str, Any], einfo: ExceptionInfo
    ) -> Any:
        """Called when the function has raised, and no retry follows."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: dict[str, Any], einfo: ExceptionInfo
    ) -> Any:
        """Called when the function has raised, and another attempt follows, whose message is not yet stored."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        einfo: ExceptionInfo | None,
    ) -> Any:
        """Called last, with ``SUCCESS``, ``FAILURE`` or ``RETRY``, and what was returned or raised."""

    # ---- around the function

    _raw_function: Callable[..., Any] | None = None

    def _has_hooks(self) -> bool:
        names = (*_HOOKS, "__call__")
        return any(getattr(type(self), name) is not getattr(BaseTask, name) for name in names)

    def _inside_hooks(self) -> Callable[..., Any]:
        """What runs inside of the hooks: ``__call__`` where a subclass has one."""
        has_own_call = type(self).__call__ is not BaseTask.__call__
        return cast("Callable[..., Any]", self.__call__ if has_own_call else self._raw_function)

    def _with_hooks(self) -> Callable[..., Any]:
        function = cast("Callable[..., Any]", self._raw_function)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            context = current()
            if context is None or context.called_directly or context is _entered.get():
                return function(*args, **kwargs)
            token = _entered.set(context)
            try:
                self._call_hook(context, "before_start", (), ())
                result = self._inside_hooks()(*args, **kwargs)
            except BaseException as error:
                for call in self._hooks_after_error(context, error):
                    self._call_hook(context, *call)
                raise
            finally:
                _entered.reset(token)
            for call in _hooks_after_success(result):
                self._call_hook(context, *call)
            return result

        return run

    def _with_async_hooks(self) -> Callable[..., Any]:
        function = cast("Callable[..., Any]", self._raw_function)

        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            context = current()
            if context is None or context.called_directly or context is _entered.get():
                return await function(*args, **kwargs)
            token = _entered.set(context)
            try:
                await self._acall_hook(context, "before_start", (), ())
                result = await self._inside_hooks()(*args, **kwargs)
            except BaseException as error:
                for call in self._hooks_after_error(context, error):
                    await self._acall_hook(context, *call)
                raise
            finally:
                _entered.reset(token)
            for call in _hooks_after_success(result):
                await self._acall_hook(context, *call)
            return result

        return run

    def _hooks_after_error(self, context: Context, error: BaseException) -> list[HookCall]:
        if isinstance(error, Ignore | Reject) or not isinstance(error, Exception | SystemExit):
            return []
        policy = None if context.queue is None else self._sender().retry_policy(context.queue)
        decision = next_delay(self, policy, context.retries, error, exhausted=context.exhausted)
        cause = decision.error
        info = ExceptionInfo(type(cause), cause, cause.__traceback__)
        again = decision.verdict is Verdict.RETRY
        return [
            ("on_retry" if again else "on_failure", (cause,), (info,)),
            ("after_return", ("RETRY" if again else "FAILURE", cause), (info,)),
        ]

    def _call_hook(self, context: Context, name: str, first: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        try:
            answer = getattr(self, name)(*first, context.id, context.args, dict(context.kwargs), *after)
        except Exception:
            logger.exception("%s of %s[%s] failed", name, self.name, context.id)
            return
        if iscoroutine(answer):
            answer.close()
            logger.error("%s of %s is 'async def', but the task is a plain function: not run", name, self.name)

    async def _acall_hook(self, context: Context, name: str, first: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        try:
            answer = getattr(self, name)(*first, context.id, context.args, dict(context.kwargs), *after)
            if isawaitable(answer):
                await answer
        except Exception:
            logger.exception("%s of %s[%s] failed", name, self.name, context.id)


def _hooks_after_success(result: Any) -> list[HookCall]:
    return [("on_success", (result,), ()), ("after_return", ("SUCCESS", result), (None,))]
