"""Settings from several sources: defaults < environment < configuration objects < code < command line < override.

Owns the order, where each value came from, the environment's notation (``AMQTASK_BROKER_URL``) and the errors for
unknown or wrong values.
"""

from __future__ import annotations

import logging
import os
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.config.celery_names import CELERY_NAMES
from amqtask.config.celery_notes import lost, note_of
from amqtask.config.celery_values import OTHERWISE, RENAMED, translated
from amqtask.config.kinds import Secrets, Unfit
from amqtask.config.places import calling
from amqtask.config.settings import IN_CELERY, NAMES, Settings, kind_of
from amqtask.config.showing import show, shown
from amqtask.config.understood import understood
from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amqtask.config.places import Place

PREFIX = "AMQTASK_"
"""What an environment variable's name starts with; the setting's name in capitals follows."""

_OF_THE_DEV_BROKER = frozenset(("AMQTASK_DEV_BROKER_URL", "AMQTASK_DEV_BROKER_CONTROL"))
"""Set for the children of a process that has started one; see :mod:`amqtask.app.dev`."""

_log = logging.getLogger(__name__)

_ADDED = ("include", "imports")
"""Settings to which each source adds: a program that names a module twice wants it once, none of them not at all."""


class Source(IntEnum):
    """Where a value came from; a higher source wins."""

    DEFAULT = 0
    ENVIRONMENT = 1
    OBJECT = 2
    """A module or object given to ``config_from_object``."""
    CODE = 3
    COMMAND_LINE = 4
    OVERRIDE = 5

    def __str__(self) -> str:
        return "configuration" if self is Source.OBJECT else self.name.lower().replace("_", " ")


class Row(NamedTuple):
    """One line of a report: passwords are masked.

    Attributes:
        name: of the setting.
        value: in force.
        origin: the source, in words.
        place: the file and line in it, or the variable of the environment; may be empty.
        note: why it does nothing, if it does not.
    """

    name: str
    value: str
    origin: str
    place: str = ""
    note: str = ""


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
        self._places: dict[tuple[Source, str], Place | None] = {}
        self._settings: Settings | None = None
        self._frozen_by: str | None = None
        self._schedule: dict[str, Any] = {}
        self._noted: set[str] = set()

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
                layer = self._layers[source]
                more = {name: _united(merged.get(name, ()), layer[name]) for name in _ADDED if name in layer}
                merged.update({**layer, **more})
            if merged.get("interop") == "celery":
                merged = {**IN_CELERY, **merged}
            merged["beat_schedule"] = self._one_schedule(merged.get("beat_schedule"))
            self._settings = Settings(**{name: value for name, value in merged.items() if name in NAMES})
        return self._settings

    def _one_schedule(self, given: Any) -> Any:
        """One mapping for good: programs fill it in place, before or after a module has given one."""
        if given is None:
            return self._schedule
        sources = [source for source, layer in self._layers.items() if layer.get("beat_schedule") is given]
        if isinstance(given, dict) and max(sources, default=Source.CODE) < Source.CODE:
            given.update(self._schedule)
        return given

    def update(
        self,
        values: Mapping[str, Any],
        source: Source = Source.CODE,
        place: Callable[[str], Place | None] | None = None,
    ) -> None:
        """Set several settings, or none of them, under names of amqtask's or Celery's, old ones included.

        What has no effect is kept and noted once; old names are named once.

        Args:
            values: by name.
            source: they come from.
            place: of the value that was given under a name; None: the line of the program that is running.

        Raises:
            ConfigError: an unknown name, a wrong value, or the app has been used already.
        """
        if self._frozen_by is not None:
            names = ", ".join(values)
            raise ConfigError(f"too late to set {names}: the app's {self._frozen_by} is in use already")
        read = understood(values)
        checked = {name: check(name, value) for name, value in read.ours.items()} | read.idle
        self._layers.setdefault(source, {}).update(checked)
        here = calling() if place is None and source == Source.CODE else None
        for name in checked:
            self._places[source, name] = here if place is None else place(read.given[name])
        self._settings = None
        self._tell(read.old, read.idle)

    def _tell(self, old: Mapping[str, str], idle: Mapping[str, Any]) -> None:
        fresh = {name: today for name, today in old.items() if name not in self._noted}
        if fresh:
            renamed = ", ".join(f"{name} is {today}" for name, today in fresh.items())
            _log.warning("old names of settings: %s (amqtask upgrade settings FILE rewrites them)", renamed)
        for name, value in idle.items():
            if name not in self._noted and (why := lost(name, value)):
                _log.warning("setting %s has no effect here: %s", name, why)
                self._noted.add(name)
        self._noted.update(fresh)

    def kept(self, name: str) -> Any:
        """The value of one of Celery's settings that have no effect; what amqtask does when nobody gave one."""
        for source in sorted(self._layers, reverse=True):
            if name in self._layers[source]:
                return self._layers[source][name]
        note = note_of(name)
        return None if note is None else note.same[0]

    def overridden(self, values: Mapping[str, Any]) -> Configuration:
        """A configuration of its own, not frozen: the same settings but for these, which win over every source.

        Raises:
            ConfigError: an unknown setting, or a wrong value.
        """
        made = Configuration(self._environ)
        made._layers = {source: dict(layer) for source, layer in self._layers.items()}
        made._places, made._schedule, made._noted = dict(self._places), self._schedule, self._noted
        made.update(values, Source.OVERRIDE)
        return made

    def freeze(self, by: str) -> None:
        """From now on :meth:`update` fails, naming what made it too late (``"transport"``)."""
        self._frozen_by = self._frozen_by or by

    def origin(self, name: str) -> Source:
        """Where the value of a setting came from."""
        _ = self.settings  # reads the environment
        return max((source for source, layer in self._layers.items() if name in layer), default=Source.DEFAULT)

    def given(self) -> dict[str, Any]:
        """The settings that somebody gave, those without effect included, by name."""
        _ = self.settings
        names = {name for layer in self._layers.values() for name in layer}
        return {name: getattr(self.settings, name) if name in NAMES else self.kept(name) for name in sorted(names)}

    def report(self) -> list[Row]:
        """Every setting with its value and origin, passwords masked; at the end those without effect."""
        rows = [self._row(name, getattr(self.settings, name)) for name in NAMES]
        return rows + [self._row(name, value) for name, value in self.given().items() if name not in NAMES]

    def _row(self, name: str, value: Any) -> Row:
        source = self.origin(name)
        variable = f"{PREFIX}{name.upper()}" if source == Source.ENVIRONMENT else ""
        place = self._places.get((source, name))
        note = "" if name in NAMES else lost(name, value) or "as it is here anyway"
        text = show(value) if isinstance(value, Secrets) else shown(name, value)
        return Row(name, text, str(source), variable or str(place or ""), note)


def _united(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *more)))


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
        raise ConfigError(f"setting {name}: {shown(name, value)}: {error}") from None


def check_text(name: str, text: str) -> Any:
    """Like :func:`check`, for a value that comes as text (environment, command line)."""
    if name not in NAMES:
        raise ConfigError(f"unknown setting {name!r}{did_you_mean(name, NAMES)}")
    try:
        kind = kind_of(name)
        return kind.check(translated(name, kind.parse(text))[name])
    except Unfit as error:
        raise ConfigError(f"setting {name}: {shown(name, text)}: {error}") from None


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings among environment variables.

    A variable that only resembles one is reported as a warning, not an error: Kubernetes puts variables of
    its own (``AMQTASK_BROKER_SERVICE_HOST``) into every container.

    Raises:
        ConfigError: a wrong value; names the variable.
    """
    found = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in OTHERWISE:
            name = RENAMED.get(name, name)
        if name in NAMES:
            try:
                found[name] = check_text(name, text)
            except ConfigError as error:
                raise ConfigError(f"environment variable {variable}: {error}") from None
        elif name in CELERY_NAMES:
            note = note_of(name)
            why = "write it into the program's settings" if note is None else note.why
            _log.warning("environment variable %s has no effect: %s", variable, why)
        elif variable not in _OF_THE_DEV_BROKER and (hint := did_you_mean(name, NAMES)):
            _log.warning("environment variable %s is not a setting%s", variable, hint)
    return found
