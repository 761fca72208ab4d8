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

    beat_schedule: Mapping[str, Any] | None = setting(
        None, kinds.anything, "Periodic tasks: name -> {task, schedule, args, kwargs, options, ...}."
    )
    beat_scheduler: str = setting("token", kinds.text, "Where the scheduler keeps its state: token, or file with -s.")
    beat_schedule_filename: str | None = setting(
        None, kinds.optional(kinds.text), "SQLite file for the scheduler's state instead of the broker (-s)."
    )
    beat_max_loop_interval: float = setting(
        0.0, kinds.seconds, "Longest sleep of the scheduler between two looks; 0: 5 minutes."
    )
    beat_sync_every: int = setting(
        0, kinds.integer(0, unit="tasks"), "Store the state after so many sent tasks; 0: each."
    )
    beat_queue: str = setting("amqtask.beat", kinds.text, "Queue of the leader's token.")
