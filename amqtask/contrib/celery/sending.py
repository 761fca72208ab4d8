"""Options of Celery's ``apply_async``, ``retry`` and ``send_task``. Owns which of them say nothing here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask.app.lenient import MAX_PRIORITY
from amqtask.plugins import did_you_mean
from amqtask.tasks.option_values import whole_priority
from amqtask.tasks.options import CELERY_SEND_OPTIONS

if TYPE_CHECKING:
    from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

_SAYS_NOTHING = frozenset(
    {
        "add_to_parent",
        "app_id",
        "confirm_timeout",
        "connection",
        "content_encoding",
        "content_type",
        "correlation_id",
        "declare",
        "exchange_type",
        "expiration",
        "immediate",
        "mandatory",
        "message_id",
        "producer",
        "publisher",
        "replaced_task_nesting",
        "result_cls",
        "retries",
        "retry",
        "retry_policy",
        "route_name",
        "router",
        "task_type",
        "timeout",
        "timestamp",
        "type",
        "user_id",
    }
)
"""How to send, which amqtask decides itself: always mandatory, confirmed, and tried again."""
_NOT_THERE = frozenset({"chain", "chord"})
"""Options that carry work; leaving them out would lose it, so they are refused as unknown."""
_ENTITIES = ("queue", "exchange")


def take(options: MutableMapping[str, Any]) -> None:
    """Leave what amqtask takes: what says nothing here goes, what nobody knows goes with a warning.

    Args:
        options: of a call; changed.
    """
    unknown = [name for name in options if name not in CELERY_SEND_OPTIONS]
    for name in [name for name in unknown if name not in _NOT_THERE or options[name] is None]:
        del options[name]
        if name not in _SAYS_NOTHING | _NOT_THERE:
            logger.warning("unknown option %s ignored%s", name, did_you_mean(name, CELERY_SEND_OPTIONS))
    for name in _ENTITIES:  # kombu's objects
        if options.get(name) is not None and not isinstance(options[name], str):
            options[name] = getattr(options[name], "name", options[name])


def as_priority(priority: object) -> int:
    """The priority of a task, held to what AMQP can carry.

    Raises:
        TypeError: no whole number.
    """
    return min(max(whole_priority(priority), 0), MAX_PRIORITY)
