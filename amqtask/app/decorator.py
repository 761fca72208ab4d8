"""The types of ``@app.task``: how a function's signature becomes that of its task. Owns no behaviour.

``bind=True`` takes the function's first parameter away; a coroutine function gives an :class:`AsyncTask`
whose result is what awaiting it gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from amqtask.tasks.task import AsyncTask, Task

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What ``app.task(...)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class BoundTaskDecorator(Protocol):
    """What ``app.task(bind=True, ...)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Task[..., Any], P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Task[..., Any], P], R], /) -> Task[P, R]: ...
