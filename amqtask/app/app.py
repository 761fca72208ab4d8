"""Amqtask, the application: wires settings, tasks, topology, producer and transport. Owns no logic."""

from __future__ import annotations

import inspect
import sys
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, Unpack, cast, overload

from amqtask.app.conf import Conf
from amqtask.app.files import load_topology
from amqtask.app.producer import Producer
from amqtask.app.transport import BrokerTransport
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.config.sources import Configuration
from amqtask.results.future import AsyncResult
from amqtask.symbols import import_module
from amqtask.tasks.option_values import refuse_unknown
from amqtask.tasks.options import SEND_OPTIONS, SendOptions, TaskOptions, task_options
from amqtask.tasks.registry import TaskRegistry, task_name
from amqtask.tasks.task import AsyncTask, Task
from amqtask.topology.router import Router
from amqtask.wire.codec import serializers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from amqtask.app.decorator import BoundTaskDecorator, TaskDecorator
    from amqtask.broker.interface import Transport
    from amqtask.broker.url import BrokerURL
    from amqtask.config.settings import Settings
    from amqtask.tasks.options import TaskOptionArguments
    from amqtask.tasks.sender import Call
    from amqtask.topology.model import Topology

P = ParamSpec("P")
R = TypeVar("R")

_NO_OPTIONS = TaskOptions()


class Amqtask:
    """An application: its tasks, and the way to the broker. Making one neither connects nor reads a file.

    Settings are changed before the first use and fixed from then on; after that, everything is thread-safe.

    Args:
        main: name of the application, shown in the broker's list of connections; ``__file__`` is fine too.
        broker: setting ``broker_url``.
        routing: setting ``routing``: path of routing.yaml, relative to the current folder or else to the
            folder of the module that makes the app.
        include: setting ``include``: modules that define tasks, imported by workers.
        settings: any other setting by name.

    Raises:
        ConfigError: an unknown setting, or a wrong value.

    Attributes:
        main: the name.
        conf: the settings by attribute; ``app.conf.update(...)`` changes several.
        configuration: the settings with the origin of each value.
        tasks: every task declared so far, by name.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Sequence[str] | None = None,
        routing: str | Path | None = None,
        include: Iterable[str] | str = (),
        **settings: Any,
    ) -> None:
        caller = sys._getframe(1)  # noqa: SLF001 -- as namedtuple finds its module
        file = main if main is not None and main.endswith(".py") else caller.f_globals.get("__file__")
        self._home = None if file is None else Path(file).resolve().parent
        self.main = Path(main).stem if main is not None and main == file else main or "amqtask"
        given = {"broker_url": broker, "routing": None if routing is None else str(routing)}
        included = (include,) if isinstance(include, str) else tuple(include)
        self.configuration = Configuration()
        self.configuration.update({name: value for name, value in given.items() if value is not None})
        self.configuration.update({**settings, **({"include": included} if included else {})})
        self.conf = Conf(self.configuration)
        self.tasks = TaskRegistry()
        self._lock = threading.RLock()
        self._given_transport: Transport | None = None

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, *, bind: Literal[True], **options: Unpack[TaskOptionArguments]) -> BoundTaskDecorator: ...
    @overload
    def task(self, *, bind: Literal[False] = ..., **options: Unpack[TaskOptionArguments]) -> TaskDecorator: ...
    def task(self, function: Any = None, *, bind: bool = False, **options: Unpack[TaskOptionArguments]) -> Any:
        """Declare a task: ``@app.task`` or ``@app.task(queue="emails", ...)``.

        Args:
            function: a function or coroutine function; it stays callable as before.
            bind: give the function its task as first argument, for ``self.request`` and ``self.retry()``.
            options: see :class:`~amqtask.tasks.options.TaskOptions`.

        Raises:
            TypeError: an unknown option (names the nearest), or a value of the wrong type.
            ConfigError: a value out of range, or another function has the name.
        """
        checked = task_options(bind, options)
        if function is None:
            return lambda function: self._declare(function, checked)
        return self._declare(function, checked)

    def send_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[Any]:
        """Send a task by name, known here or not; options as for :meth:`Task.apply_async`.

        The arguments of a task that is declared here are checked first.
        """
        task, defaults, call = self._named(name, args, kwargs, options)
        return AsyncResult(self.producer.send(task, defaults, call, options), name)

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[Any]:
        """Like :meth:`send_task`, for coroutines: never blocks the running loop."""
        task, defaults, call = self._named(name, args, kwargs, options)
        return AsyncResult(await self.producer.asend(task, defaults, call, options), name)

    def load_tasks(self) -> None:
        """Import the modules of the setting ``include``.

        Raises:
            ConfigError: one can't be imported; says where and why.
        """
        for module in self.settings.include:
            import_module(module)

    def use_transport(self, transport: Transport | None) -> None:
        """Send through this transport from now on; None returns to the app's own. For workers and tests."""
        self._given_transport = transport

    def close(self) -> None:
        """Close the app's connections for blocking calls; a later send opens them again."""
        if (own := self.__dict__.get("_own_transport")) is not None:
            own.close()

    async def aclose(self) -> None:
        """Close the app's connections for coroutines; to be awaited in their loop."""
        if (own := self.__dict__.get("_own_transport")) is not None:
            await own.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        """The settings in force, typed and immutable."""
        return self.configuration.settings

    @property
    def transport(self) -> Transport:
        """The way to the broker; connects when something is sent."""
        return self._given_transport or self._own_transport

    @cached_property
    def topology(self) -> Topology:
        """What is declared: routing.yaml, or queues in code, or the default queue.

        Raises:
            ConfigError: routing.yaml is missing, or has errors.
        """
        self.configuration.freeze("topology")
        return load_topology(self.settings, self._home)

    @cached_property
    def router(self) -> Router:
        """Decides where tasks go."""
        return Router(self.topology)

    @cached_property
    def producer(self) -> Producer:
        """The sending side."""
        with self._lock:
            if (made := self.__dict__.get("producer")) is not None:
                return cast("Producer", made)
            self.configuration.freeze("producer")
            return Producer(self.settings, self.topology, self.router, lambda: self.transport)

    @cached_property
    def accept_content(self) -> tuple[str, ...]:
        """The setting, checked: every name is a serializer that exists.

        Raises:
            ConfigError: one doesn't; names the nearest.
        """
        for name in self.settings.accept_content:
            serializers.get(name)
        return self.settings.accept_content

    @property
    def broker_urls(self) -> tuple[BrokerURL, ...]:
        """The brokers to connect to; printing one shows no password."""
        return parse_urls(self.settings.broker_url)

    @property
    def connection_options(self) -> ConnectionOptions:
        """How connections of this app behave."""
        settings = self.settings
        tls = settings.broker_use_ssl or {}
        return ConnectionOptions(
            name=self.main,
            heartbeat=settings.broker_heartbeat,
            connect_timeout=settings.broker_connection_timeout,
            blocked_timeout=settings.broker_blocked_timeout,
            max_message_size=settings.broker_max_message_size,
            ca_file=tls.get("ca_certs"),
            cert_file=tls.get("certfile"),
            key_file=tls.get("keyfile"),
            verify=tls.get("verify", True),
        )

    @cached_property
    def _own_transport(self) -> BrokerTransport:
        with self._lock:
            if (made := self.__dict__.get("_own_transport")) is not None:
                return cast("BrokerTransport", made)
            self.configuration.freeze("connection")
            strategy = self.settings.broker_failover_strategy
            return BrokerTransport(self.broker_urls, self.connection_options, strategy)

    def _declare(self, function: Callable[..., Any], options: TaskOptions) -> Task[..., Any]:
        if isinstance(function, Task):
            raise TypeError(f"{function.name} is a task already")
        if not callable(function):
            raise TypeError(f"a task is made of a function, not of {function!r}")
        kind = AsyncTask if inspect.iscoroutinefunction(function) else Task
        task: Task[..., Any] = kind(function, options.name or task_name(function), options, lambda: self.producer)
        self.tasks.add(task)
        return task

    def _named(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: SendOptions
    ) -> tuple[str, TaskOptions, Call]:
        refuse_unknown(options, SEND_OPTIONS, "option")
        if not name:
            raise TypeError("a task's name must not be empty")
        task = self.tasks.get(name)
        call = (args, {} if kwargs is None else kwargs)
        if task is None:
            return name, _NO_OPTIONS, call
        task.check_arguments(*call[0], **call[1])
        return name, task.options, call

    def __repr__(self) -> str:
        return f"<Amqtask: {self.main}>"
