"""Amqtask in a Django project: settings, discovery, tasks that are sent on commit, and care for database connections.

    from amqtask.contrib.django import Amqtask

Owns the list of names. With ``"amqtask.contrib.django"`` in INSTALLED_APPS there are ``manage.py amqtask`` and system
checks too, and connections are cared for whatever class the app is of. :mod:`.celery` has a ``Celery`` of the same
kind, :mod:`.tasks` a backend for ``django.tasks``.
"""

from __future__ import annotations

from amqtask.errors import ConfigError

try:
    import django as _django  # noqa: F401 -- before those that need more of it
except ImportError:
    raise ConfigError("amqtask.contrib.django needs Django: pip install 'amqtask[django]'") from None

from amqtask.contrib.celery.shared import shared_task
from amqtask.contrib.django.app import Amqtask
from amqtask.contrib.django.on_commit import OnCommit, send_on_commit

__all__ = ["Amqtask", "OnCommit", "send_on_commit", "shared_task"]
