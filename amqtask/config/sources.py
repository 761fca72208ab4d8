"""Settings from several places: defaults < environment < code < command line < override. Each remembers its origin.

Owns the order, the environment's notation (``AMQTASK_BROKER_URL``) and the errors for unknown or wrong
values.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.config.kinds import Unfit
from amqtask.config.settings import IN_CELERY, NAMES, Settings, kind_of
from amqtask.durations import format_duration
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "AMQTASK_"
"""What an environment variable's name starts with; the setting's name in capitals follows."""

_OF_THE_DEV_BROKER = frozenset(("AMQTASK_DEV_BROKER_URL", "AMQTASK_DEV_BROKER_CONTROL"))
"""Set for the children of a process that has started one; see :mod:`amqtask.app.dev`."""

_log = logging.getLogger(__name__)
_PASSWORD = re.compile(r"(\w+://[^:@/]*):.*@")
_NEXT_URL = re.compile(r"([;,]\s*)(?=\w+://)")


class Source(IntEnum):
    """Where a value came from; a higher source wins."""

    DEFAULT = 0
    ENVIRONMENT = 1
    CODE = 2
    COMMAND_LINE = 3
    OVERRIDE = 4

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


class Row(NamedTuple):
    """One line of a report: passwords are masked."""

    name: str
    value: str
    origin: str


class Configuration:
    """The settings of one app, until they are frozen by its first use.

    Every change is checked as a whole: after an error the former values stand. Not thread-safe; meant for
    start-up.

    Args:
        environ: read instead of ``os.environ``, at the first look at a setting.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ
        self._layers: dict[Source, dict[str, Any]] = {}
        self._settings: Settings | None = None
        self._frozen_by: str | None = None

    @property
    def settings(self) -> Settings:
        """The values in force, as one immutable object.

        Raises:
            ConfigError: an environment variable has a wrong value.
        """
        if self._settings is None:
            self._layers[Source.ENVIRONMENT] = read_environment(os.environ if self._environ is None else self._environ)
            merged: dict[str, Any] = {}
            for source in sorted(self._layers):
                merged.update(self._layers[source])
            if merged.get("interop") == "celery":
                merged = {**IN_CELERY, **merged}
            self._settings = Settings(**merged)
        return self._settings

    def update(self, values: Mapping[str, Any], source: Source = Source.CODE) -> None:
        """Set several settings, or none of them.

        Raises:
            ConfigError: an unknown name, a wrong value, or the app has been used already.
        """
        if self._frozen_by is not None:
            names = ", ".join(values)
            raise ConfigError(f"too late to set {names}: the app's {self._frozen_by} is in use already")
        checked = {name: check(name, value) for name, value in values.items()}
        self._layers.setdefault(source, {}).update(checked)
        self._settings = None

    def overridden(self, values: Mapping[str, Any]) -> Configuration:
        """A configuration of its own, not frozen: the same settings but for these, which win over every source.

        Raises:
            ConfigError: an unknown name, or a wrong value.
        """
        made = Configuration(self._environ)
        made._layers = {source: dict(layer) for source, layer in self._layers.items()}
        made.update(values, Source.OVERRIDE)
        return made

    def freeze(self, by: str) -> None:
        """From now on :meth:`update` fails, naming what made it too late (``"transport"``)."""
        self._frozen_by = self._frozen_by or by

    def origin(self, name: str) -> Source:
        """Where the value of a setting came from."""
        _ = self.settings  # reads the environment
        return max((source for source, layer in self._layers.items() if name in layer), default=Source.DEFAULT)

    def report(self) -> list[Row]:
        """Every setting with its value and origin, passwords masked."""
        settings = self.settings
        return [Row(name, show(getattr(settings, name)), str(self.origin(name))) for name in NAMES]


def check(name: str, value: Any) -> Any:
    """A value for a setting, as it is kept.

    Raises:
        ConfigError: there is no such setting, or the value doesn't fit it.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown setting {name!r}{did_you_mean(name, NAMES)}")
    try:
        return kind_of(name).check(value)
    except Unfit as error:
        raise ConfigError(f"setting {name}: {_shown(name, value)}: {error}") from None


def check_text(name: str, text: str) -> Any:
    """Like :func:`check`, for a value that comes as text (environment, command line)."""
    if name not in NAMES:
        raise ConfigError(f"unknown setting {name!r}{did_you_mean(name, NAMES)}")
    try:
        kind = kind_of(name)
        return kind.check(kind.parse(text))
    except Unfit as error:
        raise ConfigError(f"setting {name}: {_shown(name, text)}: {error}") from None


def _shown(name: str, value: Any) -> str:
    return "********" if kind_of(name).secret else show(value)


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings among environment variables.

    A variable that only resembles one is reported as a warning, not an error: Kubernetes puts variables of
    its own (``AMQTASK_BROKER_SERVICE_HOST``) into every container.

    Raises:
        ConfigError: a wrong value; names the variable.
    """
    found = {}
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX):
            continue
        if name in NAMES:
            try:
                found[name] = check_text(name, text)
            except ConfigError as error:
                raise ConfigError(f"environment variable {variable}: {error}") from None
        elif variable not in _OF_THE_DEV_BROKER and (hint := did_you_mean(name, NAMES)):
            _log.warning("environment variable %s is no setting%s", variable, hint)
    return found


def mask(url: str) -> str:
    """The text with the passwords of all URLs in it hidden."""
    return "".join(_PASSWORD.sub(r"\1:***@", part) for part in _NEXT_URL.split(url))


def show(value: Any) -> str:
    """A setting's value as one line of text, without passwords."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple | list):
        return ", ".join(show(item) for item in value) or "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return mask(str(value))
