"""Celery's app over amqtask's. Owns what its methods of Celery's name do, and what happens once it is configured."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.app.app import Amqtask
from amqtask.contrib.celery import absent
from amqtask.contrib.celery.absent import Absent
from amqtask.contrib.celery.conf import CeleryConf
from amqtask.contrib.celery.schedules import maybe_schedule
from amqtask.contrib.celery.shared import adopt
from amqtask.contrib.celery.signals import Signal
from amqtask.contrib.celery.task import Task
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.symbols import import_module
from amqtask.tasks.options import TaskOptions, task_options
from amqtask.tasks.registry import task_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

logger = logging.getLogger(__name__)

_OURS = frozenset(item.name for item in fields(TaskOptions)) - {"bind"}
_IDLE = frozenset(
    {
        "acks_on_failure",
        "acks_on_failure_or_timeout",
        "acks_on_timeout",
        "rate_limit",
        "reject_on_worker_lost",
        "retry_on_worker_lost",
        "soft_time_limit",
        "store_errors_even_if_ignored",
        "time_limit",
        "track_started",
    }
)
"""Options of tasks that a program may count on, and that amqtask does not have."""
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
        set_as_current: the app that was made last is the current one in any case.
        changes: any other setting by name.

    Raises:
        ConfigError: an unknown setting, or a wrong value.
    """

    conf: CeleryConf

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
        set_as_current: bool = True,  # noqa: ARG002 -- Celery's
        **changes: Any,
    ) -> None:
        super().__init__(main or "celery", interop="celery")
        self.on_after_configure = Signal("on_after_configure")
        self.on_after_finalize = Signal("on_after_finalize")
        self.conf = CeleryConf(lambda: self.configuration, self._configured)
        given = {"broker_url": broker, "result_backend": backend, "include": include}
        self.conf.given({**{name: value for name, value in given.items() if value}, **changes})
        self.Task: type[Task] = _task_class(task_cls)
        self.control = Absent("app.control", absent.REMOTE_CONTROL)
        self.events = Absent("app.events", absent.EVENTS)
        self.connection = self.connection_for_read = self.connection_for_write = Absent(
            "app.connection", absent.CONNECTIONS
        )
        self.Beat = Absent("app.Beat", absent.SCHEDULER)
        self.start = self.worker_main = Absent("app.start", absent.COMMAND_LINE)
        self._discovery: list[Callable[[], None]] = []
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        adopt(self)

    # ---- settings

    def config_from_object(
        self, obj: object, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from a module or an object, at once; those given to the app itself stay.

        Args:
            obj: or the name of it.
            silent: nothing happens when it can't be imported.
            force: Celery's; settings are always read at once.
            namespace: what the names in there start with: ``CELERY`` for Django's settings.

        Raises:
            ConfigError: it can't be imported, or has a wrong value.
        """
        del force
        try:
            self.conf.load(obj, namespace)
        except ConfigError as error:
            if not silent or not isinstance(error.__cause__, ImportError):
                raise

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """As :meth:`config_from_object`, with the name of the module in an environment variable."""
        import os  # noqa: PLC0415 -- for this alone

        module = os.environ.get(variable_name)
        if not module:
            if silent:
                return False
            raise ConfigError(f"environment variable {variable_name} is not set: it names the module with the settings")
        self.config_from_object(module, silent=silent, force=force)
        return True

    def add_defaults(self, values: Any) -> None:
        """Settings, given as a mapping or as a function that returns one."""
        self.conf.load(values() if callable(values) else values)

    # ---- tasks

    def task(self, function: Any = None, *, bind: bool = False, base: type[Task] | None = None, **options: Any) -> Any:
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
        task = kind.made(function, name, task_options(bind, ours), self)
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

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the modules ``tasks`` of packages, where there are any, when a worker starts.

        Args:
            packages: or a function that names them; None: the apps of Django.
            related_name: of the modules.
            force: import them now.

        Raises:
            ConfigError: one can't be imported.
        """

        def discover() -> None:
            named = _django_apps() if packages is None else packages() if callable(packages) else packages
            for package in named:
                _import_related(package, related_name)

        if force:
            discover()
        else:
            self._discovery.append(discover)

    def load_tasks(self) -> None:
        """Import everything that defines tasks; from then on the app is configured."""
        super().load_tasks()
        waiting, self._discovery = self._discovery, []
        for discover in waiting:
            discover()
        self._configured()

    def finalize(self, auto: bool = False) -> None:
        """Celery's word for the end of the set-up."""
        del auto
        self._configured()

    def _configured(self) -> None:
        self.on_after_configure.send_once(self, source=self.conf)
        self.on_after_finalize.send_once(self)

    # ---- the scheduler's

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **options: Any
    ) -> str:
        """Add an entry to ``conf.beat_schedule``, which is kept for a scheduler.

        Returns:
            The name of the entry.
        """
        key = name or repr(sig)
        merged = {**sig.options, **options} if hasattr(sig, "options") else options
        entry = {
            "task": sig.task if hasattr(sig, "task") else sig.name,
            "schedule": maybe_schedule(schedule, app=self),
            "args": tuple(args) or tuple(getattr(sig, "args", ())),
            "kwargs": dict(kwargs) or dict(getattr(sig, "kwargs", {})),
            "options": merged,
        }
        self.conf.update(beat_schedule={**(self.conf.kept("beat_schedule") or {}), key: entry})
        return key

    # ---- little things

    def set_current(self) -> None:
        """The app that was made last is the current one."""

    set_default = set_current

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
        raise ConfigError(f"task_cls: {given!r} is no subclass of amqtask.contrib.celery.Task")
    return given


def _class_options(kind: type[Task]) -> dict[str, Any]:
    """Options that the classes below Celery's own give as attributes."""
    found: dict[str, Any] = {}
    for cls in reversed(kind.__mro__[: kind.__mro__.index(Task)]):
        found.update({name: value for name, value in vars(cls).items() if name in _OURS and name != "name"})
    return found


def _put_attributes(task: Task, options: dict[str, Any]) -> None:
    for name, value in options.items():
        setattr(task, name, value)
        if name in _IDLE:
            logger.warning("task %s: the option %s is kept, but without effect in amqtask", task.name, name)
        elif name not in _THEIRS and (meant := did_you_mean(name, _OURS | _THEIRS)):
            logger.warning("task %s: there is no option %s%s", task.name, name, meant)


def _django_apps() -> list[str]:
    try:
        apps = importlib.import_module("django.apps").apps
    except ImportError:
        raise ConfigError("autodiscover_tasks(): name the packages; only Django knows them by itself") from None
    return [config.name for config in apps.get_app_configs()]


def _import_related(package: str, related_name: str | None) -> None:
    import_module(package)
    if related_name is None:
        return
    name = f"{package}.{related_name}"
    try:
        there = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package is a module
        there = False
    if there:
        import_module(name)
