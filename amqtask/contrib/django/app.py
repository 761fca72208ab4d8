"""The app of a Django project: its settings are Django's, its tasks those of the installed apps. Owns both ways.

The settings are those of Django whose names begin with ``AMQTASK_``. They are read when the app is made, before
Django is set up; tasks are imported when a worker, a scheduler or a command needs them, after it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, cast, overload

import django
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

from amqtask.app import app as base_app
from amqtask.contrib.celery.shared import adopt
from amqtask.contrib.django.connections import Connections, connect
from amqtask.contrib.django.on_commit import with_on_commit
from amqtask.errors import ConfigError
from amqtask.tasks.hooks import BaseTask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from amqtask.app.outbox import Outbox
    from amqtask.contrib.django.decorator import AsyncDjangoTask, BoundTaskDecorator, DjangoTask, TaskDecorator
    from amqtask.outbox.store import Store
    from amqtask.tasks.options import TaskOptionArguments, TaskOptions
    from amqtask.tasks.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class InDjango(base_app.Amqtask):
    """What an app of any kind does in a Django project."""

    def _care_for_connections(self) -> None:
        connect()
        self.middleware.add(Connections())

    def outbox(self, connection: object = DEFAULT_DB_ALIAS) -> Outbox:
        """As of any app, by default by the transaction of the default database.

        Args:
            connection: name of a database of the project, or its connection; or what any app takes.

        Raises:
            ConfigError: "amqtask.contrib.django.outbox" is not in INSTALLED_APPS.
            TypeError: it is something else.
        """
        using = connection if isinstance(connection, str) else getattr(connection, "alias", None)
        if not isinstance(using, str):
            return super().outbox(connection)
        from amqtask.app.outbox import Outbox  # noqa: PLC0415 -- for those who use it
        from amqtask.contrib.django.outbox.rows import DjangoWriter  # noqa: PLC0415 -- as above

        return Outbox(self, DjangoWriter(using))

    def outbox_store(self) -> Store:
        """As of any app; without ``outbox_url``, and where it is no URL, of a database of the project.

        Raises:
            ConfigError: there is none of this name, or it can't be used.
        """
        url = self.settings.outbox_url or DEFAULT_DB_ALIAS
        if "://" in url:
            return super().outbox_store()
        self._set_up()
        from amqtask.contrib.django.outbox.rows import DjangoStore  # noqa: PLC0415 -- for those who use it

        return DjangoStore(url, self.main)

    def load_tasks(self) -> None:
        """As of any app, with Django set up before.

        Raises:
            ConfigError: Django's settings can't be read, or a module with tasks can't be imported.
        """
        self._set_up()
        super().load_tasks()

    def _set_up(self) -> None:
        if not apps.ready:
            try:
                django.setup()
            except ImproperlyConfigured as error:
                raise _unreadable(error) from error


class Amqtask(InDjango):
    """An application with the settings of Django; see :class:`amqtask.app.app.Amqtask`.

    Args:
        main: name of the application.
        namespace: what its settings begin with among Django's.
        broker, backend, routing, include: the settings of these names; they win over Django's.
        settings: any other setting by name, which wins as well.

    Raises:
        ConfigError: Django's settings can't be read, or hold an unknown setting or a wrong value.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        namespace: str = "AMQTASK",
        broker: str | Sequence[str] | None = None,
        backend: str | None = None,
        routing: str | Path | None = None,
        include: Iterable[str] | str = (),
        **settings: Any,
    ) -> None:
        super().__init__(main, broker=broker, backend=backend, routing=routing, include=include, **settings)
        try:
            self.config_from_object("django.conf:settings", namespace=namespace)
        except ImproperlyConfigured as error:
            raise _unreadable(error) from error
        self._care_for_connections()
        self.autodiscover_tasks()
        adopt(cast("Any", self))

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncDjangoTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> DjangoTask[P, R]: ...
    @overload
    def task(
        self, *, bind: Literal[True], base: type[BaseTask] | None = ..., **options: Unpack[TaskOptionArguments]
    ) -> BoundTaskDecorator: ...
    @overload
    def task(
        self, *, bind: Literal[False] = ..., base: type[BaseTask] | None = ..., **options: Unpack[TaskOptionArguments]
    ) -> TaskDecorator: ...
    def task(
        self, function: Any = None, *, bind: bool = False, base: type[BaseTask] | None = None, **options: Any
    ) -> Any:
        """Declare a task, with ``delay_on_commit`` and ``apply_async_on_commit``; arguments as of any app's."""
        declare = cast("Any", super().task)(bind=bind, base=base, **options)
        return declare if function is None else declare(function)

    def _declare(
        self, function: Callable[..., Any], options: TaskOptions, base: type[BaseTask] | None
    ) -> Task[..., Any]:
        return super()._declare(function, options, with_on_commit(base or BaseTask))


def _unreadable(error: Exception) -> ConfigError:
    return ConfigError(f"Django's settings can't be read; set DJANGO_SETTINGS_MODULE before the app is made: {error}")
