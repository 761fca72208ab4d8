"""Where Django's TASKS names the backend: ``amqtask.contrib.django.tasks.AmqtaskBackend``. Owns that name only.

Workers import this module with the ``tasks`` of every installed app, whatever Django there is; so it imports nothing.
"""

from __future__ import annotations

from typing import Any

from amqtask.errors import ConfigError


def __getattr__(name: str) -> Any:
    if name != "AmqtaskBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import django.tasks  # noqa: F401, PLC0415 -- see above
    except ImportError:
        raise ConfigError("AmqtaskBackend is for django.tasks, which comes with Django 6") from None
    from amqtask.contrib.django.backend import AmqtaskBackend  # noqa: PLC0415

    return AmqtaskBackend
