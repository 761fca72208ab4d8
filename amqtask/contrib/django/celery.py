"""Celery's app in a Django project: the one of :mod:`amqtask.contrib.celery`, with Django's care.

As in Celery, ``app.config_from_object("django.conf:settings", namespace="CELERY")`` and ``app.autodiscover_tasks()``
are the project's to call. Owns what its tasks have beside Celery's.
"""

from __future__ import annotations

from typing import Any

from amqtask.contrib.celery import app as celery_app
from amqtask.contrib.django.app import InDjango
from amqtask.contrib.django.on_commit import with_on_commit


class Celery(InDjango, celery_app.Celery):
    """An application that takes part in a Celery deployment; arguments as of ``amqtask.contrib.celery.Celery``."""

    def __init__(self, main: str | None = None, **given: Any) -> None:
        super().__init__(main, **given)
        self._care_for_connections()

    def task(self, function: Any = None, *, bind: bool = False, base: type[Any] | None = None, **options: Any) -> Any:
        """Declare a task, with ``delay_on_commit`` and ``apply_async_on_commit``; arguments as of Celery's."""
        return super().task(function, bind=bind, base=with_on_commit(base or self.Task), **options)
