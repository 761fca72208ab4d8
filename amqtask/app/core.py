"""AppCore: an app's name, tasks and settings, and the parts that are made of these. Owns how all of them are read.

The classes that :class:`amqtask.app.app.Amqtask` is put together of derive from it, and add what users call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.app.conf import Conf
    from amqtask.app.producer import Producer
    from amqtask.app.wiring import Wiring
    from amqtask.broker.interface import ConnectionOptions, Transport
    from amqtask.broker.url import BrokerURL
    from amqtask.config.settings import Settings
    from amqtask.config.sources import Configuration
    from amqtask.results.access import ResultAccess
    from amqtask.results.base import Backend
    from amqtask.tasks.registry import TaskRegistry
    from amqtask.topology.model import Topology
    from amqtask.topology.router import Router


class AppCore:
    """What each part of an app may ask of it. The first part that is made fixes the settings; nothing connects yet.

    Attributes:
        main: the app's name.
        conf: the settings by attribute; ``app.conf.update(...)`` changes several.
        tasks: every task declared so far, by name.
    """

    main: str
    conf: Conf
    tasks: TaskRegistry
    _wiring: Wiring
    """Another one takes its place in a ``with app.rebound(...)`` block: never to be kept."""

    @property
    def configuration(self) -> Configuration:
        """The settings with the origin of each value."""
        return self._wiring.configuration

    @property
    def settings(self) -> Settings:
        """The settings in force, typed and immutable."""
        return self._wiring.settings

    @property
    def topology(self) -> Topology:
        """What is declared: routing.yaml, or queues in code, or the default queue.

        Raises:
            ConfigError: routing.yaml is missing, or has errors.
        """
        return self._wiring.topology

    @property
    def router(self) -> Router:
        """Decides where tasks go."""
        return self._wiring.router

    @property
    def transport(self) -> Transport:
        """The way to the broker; connects when something is sent."""
        return self._wiring.transport

    @property
    def producer(self) -> Producer:
        """The sending side."""
        return self._wiring.producer

    @property
    def results(self) -> ResultAccess:
        """Where handles ask for results."""
        return self._wiring.results

    @property
    def results_backend(self) -> Backend | None:
        """Where results are kept; None when they are not.

        Raises:
            ConfigError: ``result_backend`` can't be used: an unknown scheme, or a package that is not installed.
        """
        return self._wiring.results_backend

    @property
    def broker_urls(self) -> tuple[BrokerURL, ...]:
        """The brokers to send to; printing one shows no password."""
        return self._wiring.broker_urls

    @property
    def read_urls(self) -> tuple[BrokerURL, ...]:
        """The brokers that workers consume from: the same, unless ``broker_read_url`` says otherwise."""
        return self._wiring.read_urls

    @property
    def connection_options(self) -> ConnectionOptions:
        """How connections of this app behave."""
        return self._wiring.connection_options
