"""Settings that can only be judged together, or once everything that adds to amqtask is loaded.

Owns what a worker and the scheduler look at before they start: a value that would fail each task, one by one, is told
of at once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask.config.zones import zone
from amqtask.errors import ConfigError
from amqtask.wire.accept import checked_accept, checked_results
from amqtask.wire.codec import serializers
from amqtask.wire.compression import known_compression

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.config.settings import Settings

logger = logging.getLogger(__name__)

_CHECKS: dict[str, Callable[[Any], object]] = {
    "task_serializer": serializers.get,
    "result_serializer": serializers.get,
    "accept_content": lambda names: [serializers.get(name) for name in names],
    "result_accept_content": lambda names: [serializers.get(name) for name in names],
    "task_compression": known_compression,
    "result_compression": known_compression,
    "timezone": zone,
}
"""Setting -> check of its value; each raises ConfigError for one that can't be used."""


def check_settings(settings: Settings) -> None:
    """Check what only fails once everything is loaded.

    Raises:
        ConfigError: a value can't be used; names the setting.
    """
    for name, check in _CHECKS.items():
        value = getattr(settings, name)
        try:
            if value is not None:
                check(value)
        except ConfigError as error:
            raise ConfigError(f"setting {name}: {error}") from None
    checked_accept(settings.accept_content, settings)
    checked_results(settings)
    hard, soft = settings.task_time_limit, settings.task_soft_time_limit
    if hard is not None and soft is not None and soft > hard:
        raise ConfigError(
            f"setting task_soft_time_limit: {soft:g} s is longer than task_time_limit, {hard:g} s, which would stop "
            "tasks before"
        )


def warn_of_schedule(app: Amqtask) -> None:
    """Tell of a periodic task that the scheduler will refuse; workers run all the same, none is theirs."""
    if not app.has_periodic_tasks:
        return  # and what would read them is not loaded
    try:
        app.periodic_tasks()
    except ConfigError as error:
        logger.warning("%s: the scheduler (amqtask beat) will not start", error)
