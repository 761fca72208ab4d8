"""Celery's app over amqtask's. Owns what its methods of Celery's name do, and what happens once it is configured."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from functools import partial
from inspect import isroutine
from typing import TYPE_CHECKING, Any, cast

from amqtask import clock
from amqtask.app.app import Amqtask
from amqtask.app.periodic import periodic_entry
from amqtask.config.sources import Source
from amqtask.config.zones import home_zone
from amqtask.contrib.celery import absent
from amqtask.contrib.celery.absent import Absent
from amqtask.contrib.celery.conf import CeleryConf
from amqtask.contrib.celery.schedules import maybe_schedule
from amqtask.contrib.celery.sending import as_priority, take
from amqtask.contrib.celery.shared import adopt
from amqtask.contrib.celery.task import Task
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.symbols import import_module
from amqtask.tasks.options import CELERY_SEND_OPTIONS, TaskOptions, task_options
from amqtask.tasks.registry import task_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, tzinfo
    from typing import NoReturn

    from amqtask.tasks.options import SendOptions

logger = logging.getLogger(__name__)

_OURS = frozenset(item.name for item in fields(TaskOptions)) - {"bind"}
_IDLE = frozenset(
    {
        "acks_on_failure",
        "acks_on_failure_or_timeout",
        "acks_on_timeout",
        "reject_on_worker_lost",
        "retry_on_worker_lost",
        "store_errors_even_if_ignored",
        "track_started",
    }
)
"""Options of tasks that a program may count on, and that amqtask does not have."""
_DONE_ANYWAY = (("reject_on_worker_lost", True), ("retry_on_worker_lost", True))
_THEIRS = _IDLE | {"lazy", "pydantic", "resultrepr_maxsize", "send_events", "shared", "throws", "trail", "typing"}


class Celery(Amqtask):
    """An application that takes part in a Celery deployment; see :class:`amqtask.app.app.Amqtask`.

    Args:
        main: its name.
        broker: setting ``broker_url``.
        backend: setting ``result_backend``.
        include: modules that define tasks.
        config_source: as of :meth:`config_from_object`.
        namespace: of the names in ``config_source``.
        task_cls: class of the tasks, or the path of it.
        set_as_current: it is the current app from now on, in all threads; see :meth:`set_current`.
        changes: any other setting by name.

    Raises:
        ConfigError: an unknown setting, or a wrong value.
    """

    conf: CeleryConf
    _send_options = CELERY_SEND_OPTIONS

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Sequence[str] | None = None,
        backend: str | None = None,
        include: Iterable[str] | str | None = None,
        config_source: object = None,
        namespace: str | None = None,
        task_cls: type[Task] | str | None = None,
        set_as_current: bool = True,
        **changes: Any,
    ) -> None:
        self._becomes_current = set_as_current
        super().__init__(main or "celery", interop="celery")
        self.conf = CeleryConf(lambda: self.configuration, self._configured)
        self.configuration.update({"unknown_settings": "warn"}, Source.DEFAULT)
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf.update({**{name: value for name, value in given.items() if value}, **changes})
        self.Task: type[Task] = _task_class(task_cls)
        self.amqp = Absent("app.amqp", absent.MESSAGES)
        self.Beat = Absent("app.Beat", absent.SCHEDULER)
        self.backend = Absent("app.backend", absent.RESULTS)
        self.log, self.loader = Absent("app.log", absent.LOGGING), Absent("app.loader", absent.LOADING)
        self.start = self.worker_main = Absent("app.start", absent.COMMAND_LINE)
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        adopt(self)

    # ---- tasks

    def task(self, function: Any = None, *, bind: bool = False, base: type[Any] | None = None, **options: Any) -> Any:
        """Declare a task, with any option of Celery's.

        Args:
            function: of the task.
            bind: it gets the task as its first argument.
            base: class of the task.
            options: amqtask's own are checked; others become attributes of the task.
        """
        if function is None:
            return partial(self.task, bind=bind, base=base, **options)
        kind = base or self.Task
        ours = {**_class_options(kind), **{name: value for name, value in options.items() if name in _OURS}}
        name = ours.pop("name", None) or task_name(function)
        priority = ours.pop("priority", None)  # up to 255
        checked = replace(task_options(bind, ours), priority=None if priority is None else as_priority(priority))
        task = kind.from_function(function, name, checked, lambda: self.producer, self)
        _put_attributes(task, {name: value for name, value in options.items() if name not in _OURS})
        self.tasks.add(task)
        return task

    def register_task(self, task: Task, **options: Any) -> Task:
        """Declare a task that is a class with a method ``run``.

        Args:
            task: an instance of it, or the class.
            options: as of :meth:`task`.
        """
        instance = task() if isinstance(task, type) else task
        kind = type(instance)
        name = options.pop("name", None) or kind.__dict__.get("name") or f"{kind.__module__}.{kind.__qualname__}"
        made: Task = self.task(instance.run, base=kind, name=name, **options)
        made.__dict__.update({key: value for key, value in vars(instance).items() if key not in made.__dict__})
        return made

    def _configured(self) -> None:
        self.finalize()

    def _named(
        self, name: str, args: Any, kwargs: Any, options: SendOptions
    ) -> tuple[str, TaskOptions, tuple[Sequence[Any], Mapping[str, Any]]]:
        take(cast("dict[str, Any]", options))
        return super()._named(name, args or (), kwargs, options)

    # ---- the scheduler's

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Any = (),
        kwargs: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> str:
        """Add an entry to ``conf.beat_schedule``, as Celery does; the last one of a name wins.

        Returns:
            The name of the entry.
        """
        key = name or repr(sig)
        given: Any = self.settings.beat_schedule  # not by conf: that says that the app is configured
        given[key] = periodic_entry(maybe_schedule(schedule, app=self), sig, args, kwargs or {}, options)
        return key

    # ---- little things

    @property
    def timezone(self) -> tzinfo:
        """The setting ``timezone``."""
        return home_zone(self.settings.timezone)

    def now(self) -> datetime:
        """The time, in the zone of the app."""
        return clock.utcnow().astimezone(self.timezone)

    def set_default(self) -> None:
        """The same as :meth:`set_current`: here all threads have one current app."""
        self.set_current()

    @property
    def current_task(self) -> Any:
        """The task that runs here and now, or None."""
        from amqtask.tasks.context import current  # noqa: PLC0415 -- for this alone

        context = current()
        return None if context is None else self.tasks.get(context.task)

    def worker(self, *_args: Any, **_options: Any) -> NoReturn:
        """Workers are started by the command line."""
        raise absent.Unavailable(f"app.Worker: {absent.COMMAND_LINE}")

    Worker = WorkController = worker


def _task_class(given: type[Task] | str | None) -> type[Task]:
    if isinstance(given, str):
        module, _, name = given.replace(":", ".").rpartition(".")
        given = getattr(import_module(module), name, None)
    if given is None:
        return Task
    if not issubclass(given, Task):
        raise ConfigError(f"task_cls: {given!r} is not a subclass of amqtask.contrib.celery.Task")
    return given


def _class_options(kind: type[Task]) -> dict[str, Any]:
    """Options that the classes below Celery's own give as attributes. A method is none, even if it is ``retry``."""
    found: dict[str, Any] = {}
    for cls in reversed(kind.__mro__[: kind.__mro__.index(Task)]):
        given = {name: value for name, value in vars(cls).items() if name in _OURS and name != "name"}
        found.update({name: value for name, value in given.items() if not isroutine(value)})
    return found


def _put_attributes(task: Task, options: dict[str, Any]) -> None:
    for name, value in options.items():
        setattr(task, name, value)
        if name in _IDLE and (name, value) not in _DONE_ANYWAY:
            logger.warning("task %s: the option %s is kept, but without effect in amqtask", task.name, name)
        elif name not in _THEIRS and (meant := did_you_mean(name, _OURS | _THEIRS)):
            logger.warning("task %s: there is no option %s%s", task.name, name, meant)
