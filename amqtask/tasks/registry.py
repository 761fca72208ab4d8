"""The tasks of an app by name, and how a task gets its name. Owns both; imports no user code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError, UnknownTask
from amqtask.plugins import did_you_mean
from amqtask.tasks.options import TaskOptions
from amqtask.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable


_BUILTIN = ("celery.", "amqtask.")
_NO_OPTIONS = TaskOptions()


class TaskRegistry(Mapping[str, Task[..., Any]]):
    """Task name -> task, in order of declaration. Filled while modules are imported, read afterwards.

    Built-in tasks are found by name, but neither listed nor counted.

    Args:
        builtins: makes them, when one is first asked for.
    """

    def __init__(self, builtins: Callable[[], Mapping[str, Task[..., Any]]] | None = None) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}
        self._make_builtins = builtins
        self._builtins: Mapping[str, Task[..., Any]] | None = None
        self.on_add: Callable[[Task[..., Any]], None] | None = None
        """Called with each task that is added from now on."""

    def __getitem__(self, name: str) -> Task[..., Any]:
        found = self._tasks.get(name)
        return self._builtin(name) if found is None else found

    def _builtin(self, name: str) -> Task[..., Any]:
        if not name.startswith(_BUILTIN) or self._make_builtins is None:
            raise KeyError(name)
        if self._builtins is None:
            self._builtins = self._make_builtins()
        return self._builtins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, name: str) -> Task[..., Any]:
        """The task of this name.

        Raises:
            UnknownTask: there is none; names the nearest.
        """
        task = self._tasks.get(name)
        if task is None:
            raise UnknownTask(f"no task is named {name!r}{did_you_mean(name, self._tasks)}")
        return task

    def options_of(self, name: str) -> TaskOptions:
        """The options of a task; those of one that is not known here are all left to the settings."""
        task = self.get(name)
        return _NO_OPTIONS if task is None else task.options

    def add(self, task: Task[..., Any]) -> None:
        """Register a task.

        Raises:
            ConfigError: another function has the name. The same function again (its module was reloaded)
                replaces the former one.
        """
        former = self._tasks.get(task.name)
        if former is not None and origin(former.run) != origin(task.run):
            raise ConfigError(
                f"two tasks are named {task.name!r}: {'.'.join(origin(former.run))} and "
                f"{'.'.join(origin(task.run))}; give one of them another name="
            )
        self._tasks[task.name] = task
        if self.on_add is not None:
            self.on_add(task)


def origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Module and qualified name of a function, ``__main__`` resolved."""
    module = getattr(function, "__module__", None) or "__main__"
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return main_name() if module in ("__main__", "__mp_main__") else module, name


def task_name(function: Callable[..., Any]) -> str:
    """``module.function``; in a program's main module, the name under which a worker would import it."""
    return f"{origin(function)[0]}.{getattr(function, '__name__', type(function).__name__)}"


def main_name() -> str:
    """The name of the ``__main__`` module as others would import it; ``__main__`` when there is no file."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:  # started by python -m
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"
