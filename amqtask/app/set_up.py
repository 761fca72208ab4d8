"""How an app is completed before it works: modules found by themselves, and who is told then. Owns both."""

from __future__ import annotations

import importlib.util
from functools import cached_property
from importlib import import_module as plain_import
from typing import TYPE_CHECKING, Any

from amqtask.app.core import AppCore
from amqtask.errors import ConfigError
from amqtask.signals import Signal
from amqtask.symbols import import_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class OnceSignal(Signal):
    """A signal that an app sends once; a receiver that connects after that is called immediately."""

    def __init__(self, name: str, provides: str = "") -> None:
        super().__init__(name, provides)
        self._sent: tuple[Any, dict[str, Any]] | None = None

    def connect(
        self,
        receiver: Any = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: str | None = None,
        retry: bool = False,
    ) -> Any:
        """See :class:`~amqtask.signals.Signal`; receivers are held, as modules make them in passing."""
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid, retry)
        if self._sent is None:
            return super().connect(receiver, sender, False, dispatch_uid, retry)
        app, named = self._sent
        receiver(signal=self, sender=app, **named)
        return receiver

    def send_once(self, sender: Any, **named: Any) -> None:
        """Tell everybody, unless that was done; what a receiver raises goes to the caller.

        Raises:
            Exception: a receiver's; an app that is half set up must not begin to work.
        """
        if self._sent is not None:
            return
        self._sent = sender, named
        for connection in self.receivers:
            receiver = connection.receiver()
            if receiver is not None:
                receiver(signal=self, sender=sender, **named)


class SetUp(AppCore):
    """``app.autodiscover_tasks``, and the signals ``app.on_after_configure`` and ``app.on_after_finalize``."""

    @cached_property
    def on_after_configure(self) -> OnceSignal:
        """Sent once the modules with tasks are imported: the place for ``sender.add_periodic_task(...)``."""
        return OnceSignal("on_after_configure", "source")

    @cached_property
    def on_after_finalize(self) -> OnceSignal:
        """Sent after :attr:`on_after_configure`."""
        return OnceSignal("on_after_finalize")

    @cached_property
    def _discovery(self) -> list[Callable[[], None]]:
        return []

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the modules ``tasks`` of packages, where there are any, when a worker starts.

        Args:
            packages: or a function that names them; None: the apps of Django.
            related_name: of the modules; None: the packages themselves.
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

    def discover(self) -> None:
        """Import what :meth:`autodiscover_tasks` has put off; what fails is tried again the next time."""
        while self._discovery:
            discover = self._discovery.pop(0)  # before: what is imported may ask for the same
            try:
                discover()
            except BaseException:
                self._discovery.insert(0, discover)
                raise

    def finalize(self, auto: bool = False) -> None:
        """Say that the app is set up: sends both signals, once. Workers and the scheduler do so themselves.

        Args:
            auto: Celery's; means nothing here.

        Raises:
            Exception: a receiver's.
        """
        del auto
        self.on_after_configure.send_once(self, source=self.conf)
        self.on_after_finalize.send_once(self)


def _django_apps() -> list[str]:
    try:
        apps = plain_import("django.apps").apps
    except ImportError:
        raise ConfigError("autodiscover_tasks(): name the packages; only Django knows them by itself") from None
    if not apps.ready:
        raise ConfigError("autodiscover_tasks(): name the packages, or call django.setup() first; it knows them then")
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
