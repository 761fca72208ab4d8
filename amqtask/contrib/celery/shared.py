"""``shared_task``: tasks of modules that know no app. Each app has them all. Owns the list of them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast

from amqtask.canvas.current import current_app
from amqtask.contrib.celery.proxies import Proxy
from amqtask.tasks.registry import task_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class App(Protocol):
    """What is asked of an app here."""

    @property
    def tasks(self) -> Mapping[str, Any]: ...  # noqa: D102

    def task(self, function: Any = None, **options: Any) -> Any: ...  # noqa: D102


Declaration = tuple["Callable[..., Any]", dict[str, Any]]

_declared: list[Declaration] = []
_apps: weakref.WeakSet[App] = weakref.WeakSet()


def adopt(app: App) -> None:
    """An app was made: it gets the tasks that are shared, those of later too."""
    _apps.add(app)
    for function, options in _declared:
        app.task(function, **options)


def shared_task(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A task of every app: ``@shared_task`` or ``@shared_task(bind=True, ...)``.

    What the name stands for is the task of the current app.

    Args:
        function: of the task.
        options: as of ``app.task``.
    """
    if function is None:
        return lambda function: shared_task(function, **options)
    _declared.append((function, options))
    for app in list(_apps):
        app.task(function, **options)
    return _Shared(function, options.get("name") or task_name(function), bool(options.get("bind")))


class _Shared(Proxy):
    """Stands for the task of the current app; called as a function it needs none, unless it is bound."""

    __slots__ = ("__name__", "_bound", "_function")

    def __init__(self, function: Callable[..., Any], name: str, bound: bool) -> None:
        super().__init__(lambda: cast("App", current_app()).tasks[name])
        for key, value in (("_function", function), ("_bound", bound), ("__name__", function.__name__)):
            object.__setattr__(self, key, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._bound and not len(_apps):
            return self._function(*args, **kwargs)
        return super().__call__(*args, **kwargs)
