"""Settings of queues and messages that Celery's users know. Owns this part of the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from amqtask.config import kinds
from amqtask.config.field import setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """Queues, messages and what tasks are told in the settings."""

    broker_read_url: tuple[str, ...] | None = setting(
        None, kinds.optional(kinds.urls), "Address that workers consume from, of the same broker or cluster."
    )
    broker_write_url: tuple[str, ...] | None = setting(
        None, kinds.optional(kinds.urls), "Address that messages are sent to, of the same broker or cluster."
    )
    imports: tuple[str, ...] = setting((), kinds.texts, "Modules that define tasks, beside those of include.")
    task_annotations: Mapping[str, Any] | Sequence[Any] | None = setting(
        None,
        kinds.anything,
        "Task name, or * for all -> options and attributes that replace the task's own; "
        "or a list of such mappings and of objects with annotate(task).",
    )
    task_default_exchange: str | None = setting(
        None, kinds.optional(kinds.text), "Exchange of the default queue; none: the broker's own, by queue name."
    )
    task_default_exchange_type: Literal["direct", "topic", "fanout", "headers"] = setting(
        "direct", kinds.choice("direct", "topic", "fanout", "headers"), "Type of that exchange."
    )
    task_default_routing_key: str | None = setting(
        None, kinds.optional(kinds.text), "Key of the default queue in that exchange; none: the queue's name."
    )
    task_default_queue_type: Literal["quorum", "classic"] | None = setting(
        None,
        kinds.optional(kinds.choice("quorum", "classic")),
        "Type of the queues of a topology in code that name none; none: quorum, or classic where priorities need it; "
        "with interop the broker's default.",
    )
    task_queue_max_priority: int | None = setting(
        None,
        kinds.optional(kinds.integer(0, 255)),
        "Highest priority in the queues of a topology in code that name none; none: priorities are not ranked there.",
    )
    task_create_missing_queues: bool | None = setting(
        None,
        kinds.optional(kinds.flag),
        "Declare queues that nobody has named before, when tasks are sent there or a worker consumes them (-Q); "
        "false: an error. None: only with interop.",
    )
    task_default_delivery_mode: int = setting(
        2, kinds.integer(1, 2), "Whether messages are written to disk: 2 (persistent) or 1 (transient)."
    )
    task_inherit_parent_priority: bool = setting(
        False, kinds.flag, "A task that is sent by a task has its priority, unless it has one of its own."
    )
    task_acks_on_failure: bool = setting(
        False, kinds.flag, "Drop the messages of tasks that have failed for good, instead of dead-lettering them."
    )
    task_acks_on_timeout: bool = setting(
        False, kinds.flag, "Drop the messages of tasks that were stopped at their time limit; false: dead-letter them."
    )
    worker_prefetch_multiplier: int | None = setting(
        None,
        kinds.optional(kinds.integer(0)),
        "Messages held per queue, as a multiple of worker_concurrency; 0: as many as there are. "
        "None: as worker_prefetch says.",
    )
    worker_disable_prefetch: bool = setting(
        False, kinds.flag, "Hold no more messages per queue than tasks can run at once, however short tasks are."
    )
    unknown_settings: Literal["error", "warn"] = setting(
        "error",
        kinds.choice("error", "warn"),
        "What happens for a name in a configuration module that looks like a setting and is none.",
    )
