"""``celery.schedules``: when something is to run. Owns Celery's names; the schedules are amqtask's."""

from __future__ import annotations

from amqtask.schedules.base import Schedule as BaseSchedule
from amqtask.schedules.cron import crontab
from amqtask.schedules.interval import schedule
from amqtask.schedules.reading import maybe_schedule
from amqtask.schedules.solar import solar

__all__ = ["BaseSchedule", "crontab", "maybe_schedule", "schedule", "solar"]
