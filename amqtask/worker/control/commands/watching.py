"""Commands about events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.control.registry import control_command
from amqtask.worker.control.dispatch import Refused
from amqtask.worker.control.panel import own

if TYPE_CHECKING:
    from amqtask.control.registry import Panel
    from amqtask.worker.engine import EventSender


@control_command()
def enable_events(panel: Panel, **_: Any) -> dict[str, str]:
    """Send task events."""
    events = _events(panel)
    if events.enabled:
        return {"ok": "task events already enabled"}
    events.enable()
    return {"ok": "task events enabled"}


@control_command()
def disable_events(panel: Panel, **_: Any) -> dict[str, str]:
    """Send no task events."""
    events = _events(panel)
    if not events.enabled:
        return {"ok": "task events already disabled"}
    events.disable()
    return {"ok": "task events disabled"}


@control_command()
def heartbeat(panel: Panel, **_: Any) -> None:
    """Send a worker-heartbeat event now."""
    events = own(panel).worker.events
    if events is not None:
        events.heartbeat()


def _events(panel: Panel) -> EventSender:
    events = own(panel).worker.events
    if events is None:
        raise Refused("this worker has no events")
    return events
