"""Settings of the scheduler. Owns this part of the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.config import kinds
from amqtask.config.field import setting

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class BeatSettings:
    """The scheduler. Times in seconds."""

    beat_schedule: Mapping[str, Any] = setting(
        None, kinds.optional(kinds.mapping), "Periodic tasks: name -> {task, schedule, args, kwargs, options, ...}."
    )
    beat_scheduler: str = setting(
        "token", kinds.text, "Where the scheduler keeps its state. There is only token: the broker."
    )
    beat_schedule_store: str | None = setting(
        None, kinds.optional(kinds.text), "Table with periodic tasks, beside those declared: db+<SQLAlchemy URL>."
    )
    beat_schedule_filename: str | None = setting(
        None, kinds.optional(kinds.text), "SQLite file for a copy of the scheduler's state (-s)."
    )
    beat_max_loop_interval: float = setting(
        0.0, kinds.seconds, "Longest sleep of the scheduler between two looks at the clock; never more than a second."
    )
    beat_sync_every: int = setting(
        0, kinds.integer(0, unit="tasks"), "Accepted, and not needed: each sent task is in the log at once."
    )
    beat_enable_remote_control: bool = setting(
        True, kinds.flag, "The scheduler (amqtask beat) answers a ping of remote control, as beat@HOST."
    )
    beat_queue: str | None = setting(
        None, kinds.optional(kinds.text), "Queue of the scheduler's log; none: amqtask.beat. and the name of the app."
    )
