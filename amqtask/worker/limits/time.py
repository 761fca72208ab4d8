"""How long a task may run (sans I/O). Owns the order of what is said about it; pools keep the limits.

The first that is set counts::

    header of the message  >  this worker's own, set at run time  >  option of the task  >  setting
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from amqtask.tasks.option_values import check_time_limits
from amqtask.wire.header_values import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.config.settings import Settings
    from amqtask.tasks.task import Task
    from amqtask.worker.deliveries.delivery import Delivery

Pair = tuple[float | None, float | None]
"""Hard and soft limit in seconds; None is no limit."""


class TimeLimits:
    """Not thread-safe; lives on the I/O thread.

    Args:
        tasks: of the app.
        settings: ``task_time_limit`` and ``task_soft_time_limit``.
    """

    def __init__(self, tasks: Mapping[str, Task[..., Any]], settings: Settings) -> None:
        self._default = settings.task_time_limit, settings.task_soft_time_limit
        self._own: dict[str, Pair] = {}
        """Of tasks that say something, or of which something was said at run time."""
        for name, task in tasks.items():
            own = task.options.time_limit, task.options.soft_time_limit
            if own != (None, None):
                self._own[name] = own

    def of(self, delivery: Delivery) -> Pair:
        """Hard and soft limit of a delivery, in seconds. Headers that make no sense say nothing."""
        hard, soft = self._own.get(delivery.name or "", (None, None))
        said = (delivery.properties.headers or {}).get("timelimit")
        if said:
            asked = _readable(said)
            hard, soft = asked[0] or hard, asked[1] or soft
        hard, soft = hard or self._default[0], soft or self._default[1]
        if hard is not None and soft is not None and soft >= hard:
            soft = None  # the task is stopped before
        return hard, soft

    def set(self, task: str, hard: float | None = None, soft: float | None = None) -> None:
        """Change the limits of a task in this worker, for what starts from now on; None leaves it to the settings.

        Raises:
            ConfigError: no duration above 0, or the soft one is longer than the hard one.
        """
        self._own[task] = check_time_limits(hard, soft, task)

    def describe(self, task: str) -> dict[str, float | None]:
        """What holds for a task, by Celery's names."""
        hard, soft = self._own.get(task, (None, None))
        return {"time_limit": hard or self._default[0], "soft_time_limit": soft or self._default[1]}


def _readable(value: Any) -> Pair:
    try:
        hard, soft = limits(value)
    except (TypeError, ValueError, OverflowError):
        return None, None
    return (
        None if hard is None or not math.isfinite(hard) else hard,
        None if soft is None or not math.isfinite(soft) else soft,
    )
