"""System checks, for ``manage.py check``: is there an app, and does it know a broker? Owns their ids."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's name

from amqtask.config.sources import Source
from amqtask.contrib.django.project import APP_VARIABLE, find_project_app
from amqtask.errors import ConfigError


def check_app(**_: Any) -> list[CheckMessage]:
    """``amqtask.E001``: no app was found, or it can't be used; ``amqtask.W001``: nobody has named the broker."""
    try:
        app = find_project_app()
        if app is None:
            where = "a module app.py beside the settings, with: app = amqtask.contrib.django.Amqtask(...)"
            return [
                Error("There is no app of amqtask.", hint=f"Write {where}; or set {APP_VARIABLE}.", id="amqtask.E001")
            ]
        known = app.configuration.origin("broker_url") != Source.DEFAULT or app.settings.task_always_eager
    except ConfigError as error:
        return [Error(f"The app of amqtask can't be used: {error}", id="amqtask.E001")]
    if known:
        return []
    return [
        Warning(
            "AMQTASK_BROKER_URL is not set: the broker would be that of this machine, with its guest account.",
            hint="Set it in Django's settings or in the environment.",
            id="amqtask.W001",
        )
    ]
