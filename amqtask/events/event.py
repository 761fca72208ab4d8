"""Events as they travel: Celery's fields, routing keys and messages. Owns that format, both ways (sans I/O).

worker-heartbeat   one event             routing key worker.heartbeat
task-*             a list of events      routing key task.multi
"""

from __future__ import annotations

import json
import os
import platform
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.version import __version__
from amqtask.wire.message import TRANSIENT, Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Sequence

Event = dict[str, Any]

TASK_BATCH = "task.multi"
"""Routing key of a list of task events."""

_SHOWN = 1024

_UTC_OFFSET = float((time.altzone if time.localtime().tm_isdst > 0 else time.timezone) // 3600)


@lru_cache(maxsize=1)
def software() -> Event:
    """The fields of worker events that say what sends them."""
    return {"sw_ident": "amqtask", "sw_ver": __version__, "sw_sys": platform.system()}


def make(kind: str, hostname: str, tick: int, fields: Event) -> Event:
    """An event of this process, now.

    Args:
        kind: its type, for example ``task-started``.
        hostname: node name of who sends it.
        tick: of the logical clock.
        fields: what else it says; they win.
    """
    return {
        "type": kind,
        "hostname": hostname,
        "pid": os.getpid(),
        "clock": tick,
        "utcoffset": _UTC_OFFSET,
        "timestamp": clock.wall(),
        **fields,
    }


def routing_key(kind: str) -> str:
    """Of a single event of this type."""
    return kind.replace("-", ".")


def message(exchange: str, key: str, hostname: str, content: Event | Sequence[Event]) -> Outgoing:
    """The message of one event, or of a list of them.

    Args:
        exchange: of events.
        key: routing key.
        hostname: who sends it; receivers that are workers ignore their own.
        content: what it says. What JSON can't carry is written as its ``repr``.
    """
    body = json.dumps(content, default=repr).encode()
    properties = Properties("application/json", "utf-8", {"hostname": hostname}, TRANSIENT, 0)
    return Outgoing(exchange, key, properties, body)


def read(content_type: str | None, body: bytes) -> list[Event]:
    """The events of a received message; an empty list for what is none, since anybody can publish there."""
    if content_type not in ("application/json", "text/json", None):
        return []
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return []
    events = content if isinstance(content, list) else [content]
    return [event for event in events if isinstance(event, dict) and isinstance(event.get("type"), str)]


def shown(value: object) -> str:
    """What an event shows of arguments: their ``repr``, cut where it gets too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
