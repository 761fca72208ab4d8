"""``"amqtask.contrib.django"`` in INSTALLED_APPS. Owns what that does."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from amqtask.contrib.django.checks import check_app
from amqtask.contrib.django.connections import connect
from amqtask.contrib.django.project import find_project_app


class AmqtaskConfig(AppConfig):  # type: ignore[misc]
    """Brings ``manage.py amqtask`` and the system checks; imports the project's app, for shared tasks to use."""

    name = "amqtask.contrib.django"
    label = "amqtask"
    verbose_name = "Amqtask"

    def ready(self) -> None:
        """Django is set up."""
        connect()
        register(check_app, "amqtask")
        find_project_app()
