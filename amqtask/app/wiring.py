"""Wiring: what an app works out of its settings, each part made when it is first needed and fixed from then on.

Owns the making of topology, router, producer and connections, and when the settings freeze. An app has one wiring at
a time; another one, with other settings, can take its place (:meth:`amqtask.app.app.Amqtask.rebound`).
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, cast

from amqtask.app.files import load_topology
from amqtask.app.messages import MessageBuilder
from amqtask.app.producer import EagerProducer, Producer
from amqtask.app.tracking import Tracking
from amqtask.app.transport import BrokerTransport
from amqtask.broker.fork_lock import ForkLock
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import dev_vhost, parse_urls
from amqtask.config.sources import Source
from amqtask.results.access import ResultAccess
from amqtask.tasks.middleware import Middlewares
from amqtask.topology.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from amqtask.app.canvas_sender import CanvasSender
    from amqtask.app.eager import Eager
    from amqtask.broker.interface import Transport
    from amqtask.broker.url import BrokerURL
    from amqtask.canvas.shapes import Shape
    from amqtask.config.settings import Settings
    from amqtask.config.sources import Configuration
    from amqtask.control.client import Control
    from amqtask.results.backends.rpc import RpcBackend
    from amqtask.results.base import Backend
    from amqtask.tasks.registry import TaskRegistry
    from amqtask.topology.model import Topology

_OF_TOPOLOGY = (
    "interop",
    "routing",
    "task_queues",
    "task_routes",
    "task_default_queue",
    "task_default_queue_type",
    "task_default_exchange",
    "task_default_exchange_type",
    "task_default_routing_key",
    "task_queue_max_priority",
    "task_create_missing_queues",
)
"""The settings that the topology is made of."""

_here: ContextVar[tuple[Wiring, Transport] | None] = ContextVar("amqtask_transport", default=None)


class Wiring:
    """The parts of one app under one set of settings. Thread-safe once the settings are fixed.

    Args:
        configuration: the settings; frozen by the first part that is made.
        tasks: of the app.
        main: its name, shown in the broker's list of connections.
        home: folder of the module that makes the app.
    """

    def __init__(self, configuration: Configuration, tasks: TaskRegistry, main: str, home: Path | None) -> None:
        self.configuration, self.tasks, self._main, self._home = configuration, tasks, main, home
        self.given: Transport | None = None
        """Used instead of the app's own connections; None: the app's own."""
        self.middleware = Middlewares()
        self._lock = ForkLock()

    def rebound(self, changes: Mapping[str, Any]) -> Wiring:
        """A wiring of its own with some settings changed; shares nothing but what can't differ.

        Raises:
            ConfigError: an unknown setting, or a wrong value.
        """
        made = Wiring(self.configuration.overridden(changes), self.tasks, self._main, self._home)
        made.middleware = self.middleware
        old, new = self.settings, made.settings
        if all(getattr(old, name) == getattr(new, name) for name in _OF_TOPOLOGY) and "topology" in self.__dict__:
            made.topology = self.topology  # a value, and slow to read from a file
        return made

    def use_here(self, transport: Transport) -> None:
        """Send through this transport from the current thread or asyncio task, and what it starts."""
        _here.set((self, transport))

    def close(self) -> None:
        """Close the connections for blocking calls; a later send opens them again."""
        if (results := self.__dict__.get("results")) is not None:
            results.close()
        if (own := self.__dict__.get("own")) is not None:
            own.close()

    async def aclose(self) -> None:
        """Close the connections for coroutines; to be awaited in their loop."""
        backend = self.results.opened if "results" in self.__dict__ else None
        if backend is not None:
            await backend.aclose()
        if (own := self.__dict__.get("own")) is not None:
            await own.aclose()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.configuration.settings

    @property
    def transport(self) -> Transport:
        """The way to the broker; connects when something is sent."""
        here = _here.get()
        if here is not None and here[0] is self:
            return here[1]
        return self.given or self.own

    @cached_property
    def own(self) -> BrokerTransport:
        """Connections of the app's own."""
        with self._lock:
            if (made := self.__dict__.get("own")) is not None:
                return cast("BrokerTransport", made)
            self.configuration.freeze("connection")
            strategy = self.settings.broker_failover_strategy
            return BrokerTransport(self.broker_urls, self.connection_options, strategy)

    def annotate(self) -> None:
        """Put on the tasks what the setting ``task_annotations`` says of them."""
        if self.settings.task_annotations:
            from amqtask.app.annotations import annotate_all  # noqa: PLC0415 -- few apps have any

            annotate_all(self.tasks, self.settings.task_annotations)

    def trace(self) -> None:
        """Begin to trace, if the setting ``tracing`` says so and it has not begun."""
        if self.settings.tracing != "off":
            from amqtask.tracing.switch import start_tracing  # noqa: PLC0415 -- many apps are not traced

            with self._lock:
                start_tracing(self.settings, self.middleware, self.tasks)

    @cached_property
    def topology(self) -> Topology:
        """What is declared."""
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
            self.annotate()
            kind = EagerProducer if self.settings.task_always_eager else Producer
            backend = self.results_backend
            return kind(
                self.settings,
                self.topology,
                self.router,
                self.messages,
                lambda: self.transport,
                lambda: self.eager,
                self.results,
                None if backend is None else Tracking(self.settings, backend),
                self.middleware,
            )

    @cached_property
    def messages(self) -> MessageBuilder:
        """Makes messages of calls."""
        self.trace()
        backend = self.results_backend
        asks = backend is not None and backend.by_message
        return MessageBuilder(self.settings, self.router, self._reply_to if asks else None, self.middleware)

    def _reply_to(self) -> str:
        return cast("RpcBackend", self.results_backend).reply_to

    @cached_property
    def results(self) -> ResultAccess:
        """Results, for handles."""
        self.configuration.freeze("result backend")
        return ResultAccess(self.settings, self._open_backend, lambda: self.control)

    @property
    def results_backend(self) -> Backend | None:
        """Where results are kept; None when they are not."""
        return self.results.backend if self.settings.result_backend else None

    def _open_backend(self, url: str, settings: Settings) -> Backend:
        from amqtask.results.open import open_backend  # noqa: PLC0415 -- apps without results do without

        backend = open_backend(url, settings)
        if backend.by_message:
            cast("RpcBackend", backend).bind(self.own, elsewhere=lambda: self.transport is not self.own)
        return backend

    @cached_property
    def control(self) -> Control:
        """Remote control of workers."""
        from amqtask.control.client import Control  # noqa: PLC0415 -- for those who steer workers

        self.configuration.freeze("remote control")
        return Control(self)

    @cached_property
    def canvas(self) -> CanvasSender:
        """Sends signatures."""
        from amqtask.app.canvas_sender import CanvasSender  # noqa: PLC0415 -- for those who compose work

        return CanvasSender(
            self.settings,
            self.tasks,
            self.messages,
            lambda: self.producer,
            self.results,
            self.results_backend,
            self.walk,
            self.middleware,
        )

    @cached_property
    def eager(self) -> Eager:
        """Runs calls here."""
        from amqtask.app.eager import Eager  # noqa: PLC0415 -- for tests; senders do without the executor

        def walk(sig: Shape, throw: bool | None) -> Any:
            return self.walk(sig, (), {}, {"throw": throw})

        return Eager(self, self.messages, self.router, self.connection_options, walk)

    def walk(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Run a signature of any kind here."""
        from amqtask.app.eager_canvas import walk  # noqa: PLC0415 -- for tests; senders do without the executor

        return walk(self.eager, self.tasks, sig, args, kwargs, options)

    @property
    def broker_urls(self) -> tuple[BrokerURL, ...]:
        """The brokers to send to; dev:// starts one, unless this process tree has it."""
        return self._urls("broker_write_url", self.settings.broker_write_url)

    @property
    def read_urls(self) -> tuple[BrokerURL, ...]:
        """The brokers that workers consume from."""
        return self._urls("broker_read_url", self.settings.broker_read_url)

    def _urls(self, name: str, urls: tuple[str, ...] | None) -> tuple[BrokerURL, ...]:
        if urls is None:
            name, urls = "broker_url", self.settings.broker_url
        vhost = dev_vhost(urls)
        if vhost is None:
            return parse_urls(urls)
        from amqtask.app.dev import URL_VARIABLE, dev_url  # noqa: PLC0415 -- for development; production does without

        # a setting made in code wins over the variable of the setting
        in_code = self.configuration.origin(name) in (Source.OBJECT, Source.CODE, Source.OVERRIDE)
        return (dev_url(vhost, URL_VARIABLE if in_code else "AMQTASK_BROKER_URL"),)

    @property
    def connection_options(self) -> ConnectionOptions:
        """How connections behave."""
        settings = self.settings
        tls = settings.broker_use_ssl or {}
        return ConnectionOptions(
            name=self._main,
            heartbeat=settings.broker_heartbeat,
            connect_timeout=settings.broker_connection_timeout,
            blocked_timeout=settings.broker_blocked_timeout,
            max_message_size=settings.broker_max_message_size,
            ca_file=tls.get("ca_certs"),
            cert_file=tls.get("certfile"),
            key_file=tls.get("keyfile"),
            verify=tls.get("verify", True),
        )
