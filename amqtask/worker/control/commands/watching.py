"""Commands about events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.control.registry import control_command
from amqtask.worker.control.panel import part

if TYPE_CHECKING:
    from amqtask.control.registry import Panel


@control_command()
def enable_events(panel: Panel, **_: Any) -> dict[str, str]:
    """Send task events."""
    events = part(panel, "events")
    if events.enabled:
        return {"ok": "task events already enabled"}
    events.enable()
    return {"ok": "task events enabled"}


@control_command()
def disable_events(panel: Panel, **_: Any) -> dict[str, str]:
    """Send no task events."""
    events = part(panel, "events")
    if not events.enabled:
        return {"ok": "task events already disabled"}
    events.disable()
    return {"ok": "task events disabled"}


@control_command()
def heartbeat(panel: Panel, **_: Any) -> None:
    """Send a worker-heartbeat event now."""
    events = getattr(panel.worker, "events", None)
    if events is not None:
        events.heartbeat()
