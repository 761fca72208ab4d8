"""Commands about revoked tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.control.registry import control_command, inspect_command
from amqtask.control.tombstones import stamp_values
from amqtask.worker.control import words
from amqtask.worker.control.panel import own

if TYPE_CHECKING:
    from amqtask.control.registry import Panel

_TOLD = 10_000
"""Ids in an answer, the latest."""


@inspect_command()
def revoked(panel: Panel, **_: Any) -> list[str]:
    """Ids of revoked tasks."""
    return own(panel).revokes.revoked.ids()[-_TOLD:]


@control_command(variadic="task_id", signature="ID...")
def revoke(
    panel: Panel, task_id: Any, terminate: Any = False, signal: Any = None, kept: Any = False, **_: Any
) -> dict[str, str]:
    """Have tasks not run, also on workers that start later."""
    ids, name = words.names(task_id), words.signal_name(signal)
    revokes = own(panel).revokes
    found = revokes.revoke(ids, kept=bool(kept))
    if not terminate:
        return {"ok": f"tasks {{{', '.join(map(repr, sorted(set(ids))))}}} flagged as revoked"}
    found += revokes.stop_running(lambda delivery: delivery.id in ids, name)
    return {"ok": f"terminate: {', '.join(found)}" if found else "terminate: tasks unknown"}


@control_command(args=[("signal", str)], variadic="task_id", signature="SIGNAL ID...")
def terminate(panel: Panel, signal: Any, task_id: Any, **options: Any) -> dict[str, str]:
    """The same, and stop those that run."""
    return revoke(panel, task_id, **{**options, "terminate": True, "signal": signal})


@control_command(variadic="headers", signature="NAME=VALUE...")
def revoke_by_stamped_headers(
    panel: Panel, headers: Any, terminate: Any = False, signal: Any = None, kept: Any = False, **_: Any
) -> dict[str, str]:
    """Have tasks with a stamp not run."""
    given, name = words.stamps(headers), words.signal_name(signal)
    stamps = {key: stamp_values(values) for key, values in given.items()}
    revokes = own(panel).revokes
    found = revokes.revoke_stamped(stamps, kept=bool(kept))
    if not terminate:
        return {"ok": f"headers {given} flagged as revoked, but not terminated"}
    found += revokes.stop_running(revokes.is_revoked, name)
    return {"ok": f"headers {given} revoked: {', '.join(found)}" if found else f"headers {given} were not terminated"}
