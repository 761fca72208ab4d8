"""Which app is a project's: the one that AMQTASK_APP names, else the one beside Django's settings. Owns that search."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from django.conf import settings

from amqtask.app.app import Amqtask
from amqtask.errors import ConfigError
from amqtask.symbols import find_app

if TYPE_CHECKING:
    from collections.abc import Iterator

APP_VARIABLE = "AMQTASK_APP"
"""The one of the command line, with the same meaning."""

_MODULES = ("app", "celery", "tasks")
"""Where apps are, in the words of ``-A``."""


def app_path() -> str | None:
    """What ``-A`` would say; None if there is no app beside the settings, nor in a package around them."""
    if given := os.environ.get(APP_VARIABLE):
        return given
    for package in _packages(str(getattr(settings, "SETTINGS_MODULE", "") or "")):
        for name in _MODULES:
            path = f"{package}.{name}"
            if importlib.util.find_spec(path) is not None and _is_there(path):
                return path
    return None


def find_project_app() -> Amqtask | None:
    """The project's app, imported; None if there is none.

    Raises:
        ConfigError: its module can't be imported, or AMQTASK_APP names no app.
    """
    path = app_path()
    return None if path is None else find_app(path, Amqtask)


def _packages(module: str) -> Iterator[str]:
    """``shop.settings`` for shop.settings.production, then ``shop``."""
    while module := module.rpartition(".")[0]:
        yield module


def _is_there(path: str) -> bool:
    """Whether it has an app; a module that can't be imported is not passed over."""
    try:
        find_app(path, Amqtask)
    except ConfigError as error:
        if error.__cause__ is not None:
            raise
        return False
    return True
