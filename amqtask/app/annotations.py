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
_ONLY_CELERY = frozenset(
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
    for values in _values_for(task, annotations):
        options = {name: value for name, value in values.items() if name in _OPTIONS}
        if options:
            task.options = replace(task.options, **_check_options(task.name, options))
        for name, value in values.items():
            if name not in _OPTIONS:
                _set_attribute(task, name, value)


def _values_for(task: Task[..., Any], annotations: Any) -> Iterator[Mapping[str, Any]]:
    several = isinstance(annotations, list | tuple)
    listed: Iterable[Any] = annotations if several else (annotations,)
    for item in listed:
        if isinstance(item, Mapping):
            yield from (item[key] for key in ("*", task.name) if key in item)
            continue
        annotator = getattr(item, "annotate", item)
        if not callable(annotator):
            raise ConfigError(
                f"setting task_annotations: a mapping or an object with annotate(task) is required, got {item!r}"
            )
        yield annotator(task) or {}


def _check_options(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        made = task_options(False, options)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"setting task_annotations: {task}: {error}") from None
    return {name: getattr(made, name) for name in options}


def _set_attribute(task: Task[..., Any], name: str, value: Any) -> None:
    if not hasattr(task, name) and name not in _ONLY_CELERY:
        near = did_you_mean(name, {*_OPTIONS, *_ONLY_CELERY})
        raise ConfigError(f"setting task_annotations: {task.name}: there is no option {name!r}{near}")
    if name in _ONLY_CELERY:
        _warn_without_effect(name)
    setattr(task, name, MethodType(value, task) if isinstance(value, FunctionType) else value)


@cache
def _warn_without_effect(name: str) -> None:
    """Say so once, not for every task."""
    _log.warning("setting task_annotations: %s has no effect here; it is only kept as an attribute of the task", name)
