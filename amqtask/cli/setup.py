"""What the common options say, wherever they stand on the command line, and the app that follows from them.

Owns the choice of app: ``-A``, else a routing file, else routing.yaml in the current folder, else the
defaults.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from amqtask.errors import ConfigError
from amqtask.signals import user_preload_options

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask

APP_VARIABLE = "AMQTASK_APP"
"""Environment variable that ``-A`` overrides."""

BROKER_VARIABLE = "_AMQTASK_UP_BROKER"
"""How ``amqtask up`` hands ``-b`` to its workers: a command line would show the password to everyone."""

RESULTS_VARIABLE = "_AMQTASK_UP_RESULT_BACKEND"
"""The same for ``--result-backend``."""

ROUTING_FILE = "routing.yaml"

Need = Literal["app", "topology", "nothing"]


@dataclass(slots=True)
class Setup:
    """The common options of one invocation; None means not given."""

    app: str | None = None
    broker: str | None = None
    routing: str | None = None
    result_backend: str | None = None
    config: str | None = None
    loader: str | None = None
    """Celery's; apps are found without one."""
    workdir: str | None = None
    no_color: bool = False
    quiet: bool = False
    loaded: Amqtask | None = None

    @property
    def app_path(self) -> str | None:
        """What ``-A`` or its environment variable says."""
        return self.app or os.environ.get(APP_VARIABLE) or None

    def load(self, need: Need = "topology") -> Amqtask:
        """The app to work with, settings of the command line applied; its tasks are not imported yet.

        Args:
            need: ``app``: only ``-A`` will do; ``topology``: a routing file too; ``nothing``: the defaults
            too.

        Raises:
            click.UsageError: not enough was given.
            ConfigError: what was given can't be used.
        """
        self.enter_workdir()
        from amqtask.app.app import Amqtask  # noqa: PLC0415 -- takes longer than --help may
        from amqtask.config.sources import Source  # noqa: PLC0415

        changes: dict[str, Any] = {}
        if broker := self.broker or os.environ.get(BROKER_VARIABLE):
            changes["broker_url"] = broker
        if path := self.app_path:
            from amqtask.symbols import find_app  # noqa: PLC0415

            app = find_app(path, Amqtask)
            app.set_current()  # whatever other apps its module has made
        elif need == "app":
            raise click.UsageError(f"Which app? Give -A module or -A module:attribute, or set {APP_VARIABLE}.")
        else:
            app = Amqtask("amqtask")
        if routing := self._routing_file(app, need):
            changes["routing"] = routing
        if results := self.result_backend or os.environ.get(RESULTS_VARIABLE):
            changes["result_backend"] = results
        if self.config is not None:
            app.config_from_object(self.config)
        if changes:
            app.configuration.update(changes, Source.COMMAND_LINE)
        self.loaded = app
        options = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "loaded"}
        user_preload_options.send(self, app=app, options=options)
        return app

    def handed_on(self) -> dict[str, str]:
        """Variables that tell a child of this process what must not stand on its command line."""
        secret = {BROKER_VARIABLE: self.broker, RESULTS_VARIABLE: self.result_backend}
        return {name: value for name, value in secret.items() if value is not None}

    def enter_workdir(self) -> None:
        """Change to ``--workdir``, once."""
        if self.workdir is None:
            return
        try:
            os.chdir(self.workdir)
        except OSError as error:
            raise ConfigError(f"--workdir {self.workdir}: {error.strerror}") from None
        self.workdir = None

    def close(self) -> None:
        """Close the app's connections."""
        if self.loaded is not None:
            self.loaded.close()

    def _routing_file(self, app: Amqtask, need: Need) -> str | None:
        if self.routing is not None:
            return self.routing
        if self.app_path is not None or app.conf.routing is not None:
            return None
        if Path(ROUTING_FILE).is_file():
            return ROUTING_FILE
        if need == "topology":
            raise click.UsageError(f"Which topology? Give -A APP or --routing FILE; there is no {ROUTING_FILE} here.")
        return None
