"""What is let in of an event. Owns the bounds: anybody can publish one, and what is let in stays in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqtask.events.event import Event

_KEPT = frozenset(
    [
        "type",
        "hostname",
        "uuid",
        "timestamp",
        "local_received",
        "clock",
        "pid",
        "freq",
        "active",
        "processed",
        "loadavg",
        "sw_ident",
        "sw_ver",
        "name",
        "args",
        "kwargs",
        "retries",
        "eta",
        "expires",
        "root_id",
        "parent_id",
        "exchange",
        "routing_key",
        "queue",
        "result",
        "runtime",
        "exception",
        "traceback",
    ]
)
"""Fields that are shown. A node or task keeps every field that one of its events has."""

_NAME = 255
"""Characters of an id or of a node's name."""
_TEXT = 2_000
_LONG = {"traceback": 20_000}
_LOADS = 3
_NUMBER = 2**63


def tamed(event: Event) -> Event | None:
    """An event with fields that are plain and not too long; None for one that is none of a worker or task."""
    for key in ("type", "hostname", "uuid"):
        value = event.get(key, "")
        if not isinstance(value, str) or len(value) > _NAME:
            return None
    if not event.get("hostname") or (event["type"].startswith("task-") and not event.get("uuid")):
        return None
    return {key: _plain(key, value) for key, value in event.items() if key in _KEPT}


def _plain(key: str, value: object) -> Any:
    if isinstance(value, str):
        most = _LONG.get(key, _TEXT)
        cut = value if len(value) <= most else f"{value[: most - 1]}…"
        return cut if cut.isascii() else cut.encode(errors="replace").decode()  # JSON can say half a character
    if isinstance(value, int | float):
        return value if abs(value) < _NUMBER else None
    if key == "loadavg" and isinstance(value, list):
        return [one for one in value[:_LOADS] if isinstance(one, int | float)]
    return None
