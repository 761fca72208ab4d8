"""Commands about limits of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.control.registry import control_command, inspect_command
from amqtask.errors import ConfigError
from amqtask.worker.control.dispatch import Refused
from amqtask.worker.control.panel import own

if TYPE_CHECKING:
    from amqtask.control.registry import Panel


@inspect_command()
def limits(panel: Panel, **_: Any) -> Any:
    """Limits in force."""
    return own(panel).limits.describe()


@control_command(args=[("task_name", str), ("rate_limit", str)], signature="TASK RATE (10/s, 5/m, 0)")
def rate_limit(panel: Panel, task_name: Any, rate_limit: Any, scope: Any = None, **_: Any) -> dict[str, str]:
    """Change how often a task may start."""
    _check_task(panel, task_name)
    more = () if scope is None else (scope,)
    off = rate_limit in (0, "", "0", None)
    try:
        own(panel).limits.rate.set(task_name, 0 if off else rate_limit, *more)
    except (ConfigError, ValueError, TypeError) as error:
        raise Refused(f"Invalid rate limit string: {error!r}") from None
    return {"ok": "rate limit disabled successfully" if off else "new rate limit set successfully"}


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)], signature="TASK SOFT_SECONDS [HARD_SECONDS]"
)
def time_limit(panel: Panel, task_name: Any = None, hard: Any = None, soft: Any = None, **_: Any) -> dict[str, str]:
    """Change how long a task may run."""
    _check_task(panel, task_name)
    try:
        own(panel).limits.time.set(task_name, _seconds(hard), _seconds(soft))
    except (ConfigError, ValueError, TypeError) as error:
        raise Refused(str(error)) from None
    return {"ok": "time limits set successfully"}


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def _check_task(panel: Panel, name: Any) -> None:
    if not isinstance(name, str) or name not in panel.app.tasks:
        raise Refused("unknown task")
