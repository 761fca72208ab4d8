"""Amqtask, the application: what users see of it. What it is made of is wired in :mod:`amqtask.app.wiring`."""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import ref

from amqtask.app.by_name import SendsByName
from amqtask.app.conf import Conf
from amqtask.app.configuring import Configurable
from amqtask.app.extending import Extensible
from amqtask.app.periodic import Periodic
from amqtask.app.set_up import SetUp
from amqtask.app.transactional import Transactional
from amqtask.app.watching import Watchable
from amqtask.app.wiring import Wiring
from amqtask.canvas.current import is_current_app, set_current_app
from amqtask.config.sources import Configuration
from amqtask.results.current import set_default_results
from amqtask.symbols import import_module
from amqtask.tasks.hooks import BaseTask
from amqtask.tasks.options import TaskOptions, task_options
from amqtask.tasks.registry import TaskRegistry, task_name
from amqtask.tasks.task import AsyncTask, Task
from amqtask.wire.accept import checked_accept
from amqtask.wire.codec import serializers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from amqtask.app.decorator import BoundTaskDecorator, TaskDecorator
    from amqtask.broker.interface import Transport
    from amqtask.control.client import Control
    from amqtask.tasks.options import TaskOptionArguments

P = ParamSpec("P")
R = TypeVar("R")


class Amqtask(Configurable, Extensible, Periodic, SendsByName, SetUp, Transactional, Watchable):
    """An application: its tasks, and the way to the broker. Making one neither connects nor reads a file.

    Settings are changed before the first use and fixed from then on; after that, everything is thread-safe.

    Args:
        main: name of the application, shown in the broker's list of connections; ``__file__`` is fine too.
        broker: setting ``broker_url``.
        backend: setting ``result_backend``.
        routing: setting ``routing``: path of routing.yaml, relative to the current folder or else to the
            folder of the module that makes the app.
        include: setting ``include``: modules that define tasks, imported by workers.
        config_source: as of :meth:`config_from_object`; settings given here win.
        namespace: of the names in ``config_source``.
        settings: any other setting by name.

    Raises:
        ConfigError: an unknown setting, or a wrong value.

    Attributes:
        main: the name.
        conf: the settings by attribute; ``app.conf.update(...)`` changes several.
        tasks: every task declared so far, by name.
    """

    _becomes_current = True
    """The process's current app, as soon as it is made."""

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Sequence[str] | None = None,
        backend: str | None = None,
        routing: str | Path | None = None,
        include: Iterable[str] | str = (),
        config_source: object = None,
        namespace: str | None = None,
        **settings: Any,
    ) -> None:
        caller = sys._getframe(1)  # noqa: SLF001 -- as namedtuple finds its module
        file = main if main is not None and main.endswith(".py") else _file_of(caller)
        home = None if file is None else Path(file).resolve().parent
        self.main = Path(main).stem if main is not None and main == file else main or "amqtask"
        given = {"broker_url": broker, "result_backend": backend, "routing": None if routing is None else str(routing)}
        included = (include,) if isinstance(include, str) else tuple(include)
        configuration = Configuration()
        configuration.update({name: value for name, value in given.items() if value is not None})
        configuration.update({**settings, **({"include": included} if included else {})})
        self.tasks = TaskRegistry(self._builtins)
        self._wiring = Wiring(configuration, self.tasks, self.main, home)
        self.conf = Conf(lambda: self.configuration)
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        if self._becomes_current:
            self.set_current()

    def set_current(self) -> None:
        """Make this the app of whatever belongs to none, in all threads: bare signatures, ``AsyncResult(id)``.

        It stays so until another app is made, or made current.
        """
        set_current_app(self)
        here = ref(self)
        set_default_results(lambda: None if (app := here()) is None else app.results)

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, *, bind: Literal[True], base: type[BaseTask] | None = ..., **options: Unpack[TaskOptionArguments]
    ) -> BoundTaskDecorator: ...
    @overload
    def task(
        self, *, bind: Literal[False] = ..., base: type[BaseTask] | None = ..., **options: Unpack[TaskOptionArguments]
    ) -> TaskDecorator: ...
    def task(
        self,
        function: Any = None,
        *,
        bind: bool = False,
        base: type[BaseTask] | None = None,
        **options: Unpack[TaskOptionArguments],
    ) -> Any:
        """Declare a task: ``@app.task`` or ``@app.task(queue="emails", ...)``.

        Args:
            function: a function or coroutine function; it stays callable as before.
            bind: give the function its task as first argument, for ``self.request`` and ``self.retry()``.
            base: class of the task, for hooks; a subclass of :class:`amqtask.tasks.hooks.BaseTask`.
            options: see :class:`~amqtask.tasks.options.TaskOptions`.

        Raises:
            TypeError: an unknown option (names the nearest), or a value of the wrong type.
            ConfigError: a value out of range, or another function has the name.
        """
        checked = task_options(bind, options)
        if function is None:
            return lambda function: self._declare(function, checked, base)
        return self._declare(function, checked, base)

    def load_tasks(self) -> None:
        """Import the modules of the settings ``imports`` and ``include``, and those of :meth:`autodiscover_tasks`.

        If this app is the current one it still is afterwards, whatever apps these modules make.

        Raises:
            ConfigError: one can't be imported; says where and why.
        """
        was_current = is_current_app(self)
        self._about_to_import()
        for module in (*self.settings.imports, *self.settings.include):
            import_module(module)
        self.discover()
        if was_current:
            self.set_current()
        self._wiring.annotate()
        self.finalize()

    def use_transport(self, transport: Transport | None) -> None:
        """Send through this transport until this is called again; None returns to the app's own.

        For workers and tests. A :meth:`rebound` block sets it aside.
        """
        self._wiring.given = transport

    def use_transport_here(self, transport: Transport) -> None:
        """Send through this transport from the current thread or asyncio task, and from tasks that it starts.

        It holds until they end; :meth:`use_transport` changes nothing of it, and a :meth:`rebound` block sets it
        aside. For workers that share their process with other users of the app.
        """
        self._wiring.use_here(transport)

    @contextmanager
    def rebound(self, **settings: Any) -> Iterator[Self]:
        """Change settings for the time of a ``with`` block, even if the app has been used before. For tests.

        Topology, routes, connections and a transport given by :meth:`use_transport` are set aside and come back at
        the end; connections that were opened meanwhile for blocking calls are closed then, those of coroutines by
        the end of their loop. Tasks stay what they are. Blocks may be nested; no other thread may be sending when
        one begins or ends.

        Args:
            settings: by name; they win over every other source, the command line included.

        Raises:
            ConfigError: an unknown setting, or a wrong value.
        """
        former, wiring = self._wiring, self._wiring.rebound(settings)
        self._wiring = wiring
        try:
            yield self
        finally:
            self._wiring = former
            wiring.close()

    def close(self) -> None:
        """Close the app's connections for blocking calls; a later send opens them again."""
        self._wiring.close()

    async def aclose(self) -> None:
        """Close the app's connections for coroutines; to be awaited in their loop."""
        await self._wiring.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def control(self) -> Control:
        """Remote control of this app's workers: ``app.control.ping()``, ``app.control.revoke(id)``."""
        return self._wiring.control

    @property
    def accept_content(self) -> tuple[str, ...]:
        """The setting, checked: every name is a serializer that exists, and pickle comes only from whom we trust.

        Raises:
            ConfigError: one doesn't, names the nearest; or pickle is accepted from anybody.
        """
        names = checked_accept(self.settings.accept_content, self.settings)
        for name in names:
            serializers.get(name)
        return names

    def _builtins(self) -> Mapping[str, Task[..., Any]]:
        from amqtask.execution.builtins import Builtins  # noqa: PLC0415 -- for workers

        return Builtins(self, lambda: self.producer).tasks()

    def _declare(
        self, function: Callable[..., Any], options: TaskOptions, base: type[BaseTask] | None
    ) -> Task[..., Any]:
        if isinstance(function, Task):
            raise TypeError(f"{function.name} is a task already")
        if not callable(function):
            raise TypeError(f"a task is made of a function, not of {function!r}")
        if base is not None and not issubclass(base, BaseTask):
            raise TypeError(f"base: a subclass of amqtask.BaseTask is required, got {base!r}")
        kind = AsyncTask if inspect.iscoroutinefunction(function) else Task
        make = kind if base is None else base.from_function
        name = options.name or task_name(function)
        task: Task[..., Any] = make(function, name, options, lambda: self.producer, self)
        self.tasks.add(task)
        return task

    def __repr__(self) -> str:
        return f"<Amqtask: {self.main}>"


def _file_of(caller: FrameType) -> str | None:
    """The file of the module that makes an app: not of a subclass of ours, which calls in between."""
    while str(caller.f_globals.get("__name__")).startswith("amqtask.contrib.") and caller.f_back is not None:
        caller = caller.f_back
    file: str | None = caller.f_globals.get("__file__")
    return file
