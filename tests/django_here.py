"""Django in the process of the tests: one sqlite file, DEBUG on, a table of notes. Configured once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import django
from django.conf import settings
from django.db import connection, connections

from amqtask import signals

FOLDER = tempfile.TemporaryDirectory(prefix="amqtask-django-")


def configured() -> None:
    """Set Django up, unless that was done, and empty the table."""
    if not settings.configured:
        base = {"ENGINE": "django.db.backends.sqlite3", "CONN_MAX_AGE": 0}
        settings.configure(
            DEBUG=True,
            SECRET_KEY="tests",
            USE_TZ=True,
            TIME_ZONE=None,
            INSTALLED_APPS=["amqtask.contrib.django", "amqtask.contrib.django.outbox"],
            DATABASES={
                name: {**base, "NAME": str(Path(FOLDER.name) / f"{name}.sqlite3")} for name in ("default", "other")
            },
            TASKS={
                "default": {
                    "BACKEND": "amqtask.contrib.django.tasks.AmqtaskBackend",
                    "QUEUES": ["default", "mail"],
                }
            },
            AMQTASK_BROKER_URL="amqp://nowhere:1//",
            AMQTASK_TASK_SERIALIZER="json",
            AMQTASK_ACCEPT_CONTENT=["json", "msgpack"],
            OTHER_TASK_SERIALIZER="msgpack",
        )
        django.setup()
        forgotten()
    with connection.cursor() as cursor:
        cursor.execute("create table if not exists notes (text varchar(20))")
        cursor.execute("delete from notes")


def forgotten() -> None:
    """Leave other tests of the process alone."""
    from amqtask.contrib.django import connections as care

    signals.before_task_publish.disconnect(care._beat_sends)
    for signal, receiver in care._RECEIVERS:
        signal.disconnect(receiver)


def write(text: str) -> None:
    """A row, by a connection of the thread that calls."""
    with connection.cursor() as cursor:
        cursor.execute("insert into notes values (%s)", [text])


def notes() -> list[str]:
    """All rows."""
    with connection.cursor() as cursor:
        cursor.execute("select text from notes")
        return [text for (text,) in cursor.fetchall()]


def opened() -> list[str]:
    """The databases to which this thread has a connection."""
    return [one.alias for one in connections.all(initialized_only=True) if one.connection is not None]
