"""``task_annotations``: options and attributes of tasks that stand in the settings. Owns putting them on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache, partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.tasks.options import TaskOptions, task_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amqtask.tasks.registry import TaskRegistry
    from amqtask.tasks.task import Task

_log = logging.getLogger(__name__)

_OPTIONS = {item.name: item for item in fields(TaskOptions) if item.name not in ("name", "bind")}
_CELERYS = frozenset(
    {
        "acks_on_failure",
        "acks_on_failure_or_timeout",
        "acks_on_timeout",
        "backend",
        "reject_on_worker_lost",
        "send_events",
        "store_errors_even_if_ignored",
        "throws",
        "track_started",
        "trail",
        "typing",
    }
)
"""Options of Celery's tasks that amqtask's do not have: put on as attributes, for whoever reads them."""


def annotate_all(tasks: TaskRegistry, annotations: Any) -> None:
    """Put annotations on all tasks, and on those that are declared from now on. Doing it again changes nothing.

    Args:
        tasks: of the app.
        annotations: the setting: a mapping of task name, or ``*``, to options; or a list of such mappings, of objects
            with ``annotate(task)`` and of functions that do the same.

    Raises:
        ConfigError: an unknown option, or a value that it can't have.
    """
    if not annotations:
        return
    for task in tasks.values():
        annotate(task, annotations)
    tasks.on_add = partial(annotate, annotations=annotations)


def annotate(task: Task[..., Any], annotations: Any) -> None:
    """Put annotations on one task; see :func:`annotate_all`."""
    for values in _for(task, annotations):
        options = {name: value for name, value in values.items() if name in _OPTIONS}
        if options:
            task.options = replace(task.options, **_checked(task.name, options))
        for name, value in values.items():
            if name not in _OPTIONS:
                _put(task, name, value)


def _for(task: Task[..., Any], annotations: Any) -> Iterator[Mapping[str, Any]]:
    several = isinstance(annotations, list | tuple)
    listed: Iterable[Any] = annotations if several else (annotations,)
    for item in listed:
        if isinstance(item, Mapping):
            yield from (item[key] for key in ("*", task.name) if key in item)
        else:
            yield (getattr(item, "annotate", item)(task) if _can_annotate(item) else _refuse(item)) or {}


def _can_annotate(item: Any) -> bool:
    return callable(getattr(item, "annotate", item))


def _refuse(item: Any) -> Mapping[str, Any]:
    raise ConfigError(f"setting task_annotations: a mapping or an object with annotate(task) is wanted, not {item!r}")


def _checked(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        made = task_options(False, options)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"setting task_annotations: {task}: {error}") from None
    return {name: getattr(made, name) for name in options}


def _put(task: Task[..., Any], name: str, value: Any) -> None:
    if not hasattr(task, name) and name not in _CELERYS:
        near = did_you_mean(name, {*_OPTIONS, *_CELERYS})
        raise ConfigError(f"setting task_annotations: {task.name}: there is no option {name!r}{near}")
    if name in _CELERYS:
        _told(name)
    setattr(task, name, MethodType(value, task) if isinstance(value, FunctionType) else value)


@cache
def _told(name: str) -> None:
    """Say so once, not for every task."""
    _log.warning("setting task_annotations: %s has no effect here; it is only kept as an attribute of the task", name)
