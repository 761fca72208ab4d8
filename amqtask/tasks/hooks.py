"""Tasks with a class of their own: hooks, attributes and ``__call__``. Owns what these mean.

A worker calls ``run``; this class runs the hooks around the function. They run in the worker's process or thread, in
every attempt; what a hook raises is logged and changes nothing. A function called directly runs without them.
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

    Told = tuple[str, tuple[Any, ...], tuple[Any, ...]]
    """Name of a hook, its arguments before those of the task, and after."""

logger = logging.getLogger(__name__)

_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")

_entered: ContextVar[Context | None] = ContextVar("amqtask_hooks_entered", default=None)


class BaseTask(Task[..., Any]):
    """To be subclassed, for ``@app.task(base=MyTask)``. Subclasses may define hooks, attributes and ``__call__``.

    Around an ``async def`` function hooks may be ``async def`` as well.
    """

    def __init__(self) -> None:
        """Nothing is to be done; there for subclasses to call."""

    @classmethod
    def made(
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
        task._raw = None  # noqa: SLF001 -- the same class
        Task.__init__(task, function, name, options, sender, app)
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

    # ---- hooks

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The function is about to be called."""

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """It has returned."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: dict[str, Any], einfo: ExceptionInfo
    ) -> Any:
        """It has raised, and no retry follows."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: Sequence[Any], kwargs: dict[str, Any], einfo: ExceptionInfo
    ) -> Any:
        """It has raised, and will be tried again."""

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        einfo: ExceptionInfo | None,
    ) -> Any:
        """It has returned or raised; called after the other hook."""

    # ---- around the function

    _raw: Callable[..., Any] | None = None

    def _is_special(self) -> bool:
        names = (*_HOOKS, "__call__")
        return any(getattr(type(self), name) is not getattr(BaseTask, name) for name in names)

    def _entry(self) -> Callable[..., Any]:
        """What runs inside of the hooks: ``__call__`` where a subclass has one."""
        return cast("Callable[..., Any]", self._raw if type(self).__call__ is BaseTask.__call__ else self.__call__)

    def _around(self) -> Callable[..., Any]:
        raw = cast("Callable[..., Any]", self._raw)

        @functools.wraps(raw)
        def run(*args: Any, **kwargs: Any) -> Any:
            context = current()
            if context is None or context.called_directly or context is _entered.get():
                return raw(*args, **kwargs)
            token = _entered.set(context)
            try:
                self._hook(context, "before_start", (), ())
                result = self._entry()(*args, **kwargs)
            except BaseException as error:
                for told in self._raised(context, error):
                    self._hook(context, *told)
                raise
            finally:
                _entered.reset(token)
            for told in _returned(result):
                self._hook(context, *told)
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
                await self._ahook(context, "before_start", (), ())
                result = await self._entry()(*args, **kwargs)
            except BaseException as error:
                for told in self._raised(context, error):
                    await self._ahook(context, *told)
                raise
            finally:
                _entered.reset(token)
            for told in _returned(result):
                await self._ahook(context, *told)
            return result

        return run

    def _raised(self, context: Context, error: BaseException) -> list[Told]:
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

    def _hook(self, context: Context, name: str, first: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        try:
            answer = getattr(self, name)(*first, context.id, context.args, dict(context.kwargs), *after)
        except Exception:
            logger.exception("%s of %s[%s] failed", name, self.name, context.id)
            return
        if iscoroutine(answer):
            answer.close()
            logger.error("%s of %s is 'async def', but the task is a plain function: not run", name, self.name)

    async def _ahook(self, context: Context, name: str, first: tuple[Any, ...], after: tuple[Any, ...]) -> None:
        try:
            answer = getattr(self, name)(*first, context.id, context.args, dict(context.kwargs), *after)
            if isawaitable(answer):
                await answer
        except Exception:
            logger.exception("%s of %s[%s] failed", name, self.name, context.id)


def _returned(result: Any) -> list[Told]:
    return [("on_success", (result,), ()), ("after_return", ("SUCCESS", result), (None,))]
