"""The app's name and label for Django. Owns these."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):  # type: ignore[misc]
    """Brings the table ``amqtask_outbox``."""

    name = "amqtask.contrib.django.outbox"
    label = "amqtask_outbox"
    verbose_name = "Amqtask's outbox"
    default_auto_field = "django.db.models.BigAutoField"
