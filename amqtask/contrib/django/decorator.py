"""The types of ``@app.task`` in a Django project: tasks with the methods of :mod:`.on_commit`. Owns no behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from amqtask.contrib.django.on_commit import OnCommit
from amqtask.tasks.task import AsyncTask, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")


class DjangoTask(OnCommit[P, R], Task[P, R]):
    """What type checkers take a task for."""


class AsyncDjangoTask(DjangoTask[P, R], AsyncTask[P, R]):
    """The same of a coroutine function."""


class TaskDecorator(Protocol):
    """What ``app.task(...)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncDjangoTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> DjangoTask[P, R]: ...


class BoundTaskDecorator(Protocol):
    """What ``app.task(bind=True, ...)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[DjangoTask[..., Any], P], Coroutine[Any, Any, R]], /
    ) -> AsyncDjangoTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[DjangoTask[..., Any], P], R], /) -> DjangoTask[P, R]: ...
