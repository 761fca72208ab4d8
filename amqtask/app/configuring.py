"""How an app takes its settings from elsewhere, in Celery's words. Owns ``config_from_object`` and its relatives."""

from __future__ import annotations

import os
from typing import Any

from amqtask.app.core import AppCore
from amqtask.config.objects import load_object
from amqtask.config.sources import Source
from amqtask.errors import ConfigError


class Configurable(AppCore):
    """``app.config_from_object``, ``config_from_envvar`` and ``add_defaults``.

    The settings are read at once; those given in code or to the app itself win.
    """

    def config_from_object(
        self, obj: object, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Take settings from a module, a class, an object or a mapping.

        Args:
            obj: or the name of it: ``"proj.config"``, ``"proj:Config"``.
            silent: nothing happens when there is no such module; one that is there and can't be imported is an error.
            force: Celery's; settings are always read at once.
            namespace: what the names in there start with: ``CELERY`` for Django's settings.

        Raises:
            ConfigError: it can't be imported, has a wrong value, or (unless ``unknown_settings`` is ``warn``) a name
                that looks like a setting's and is none.
        """
        del force
        try:
            load_object(self.configuration, obj, namespace)
        except ConfigError as error:
            if not silent or not _is_missing(obj, error.__cause__):
                raise

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> bool:
        """As :meth:`config_from_object`, with the name of the module in an environment variable.

        Returns:
            False when ``silent`` and the variable is not set.

        Raises:
            ConfigError: the variable is not set, or as for :meth:`config_from_object`.
        """
        module = os.environ.get(variable_name)
        if not module:
            if silent:
                return False
            raise ConfigError(f"environment variable {variable_name} is not set: it names the module with the settings")
        self.config_from_object(module, silent=silent, force=force, namespace=namespace)
        return True

    def add_defaults(self, values: Any) -> None:
        """Settings, given as a mapping or as a function that returns one; what is set elsewhere wins."""
        self.configuration.update(values() if callable(values) else values, Source.DEFAULT)


def _is_missing(obj: object, cause: BaseException | None) -> bool:
    """Whether it is this module that is not there, or a package it would be in; not one that it imports."""
    if not isinstance(obj, str) or not isinstance(cause, ModuleNotFoundError) or not cause.name:
        return False
    return f"{obj.partition(':')[0]}.".startswith(f"{cause.name}.")
