"""Settings that bound tasks, children and workers. Owns this part of the list."""

from __future__ import annotations

from dataclasses import dataclass

from amqtask.config import kinds
from amqtask.config.field import setting


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """Limits of tasks, children and workers. Times in seconds, memory in KiB."""

    task_time_limit: float | None = setting(
        None,
        kinds.optional(kinds.positive_seconds),
        "Hard limit of every task's run time; it is stopped and fails with TimeLimitExceeded.",
    )
    task_soft_time_limit: float | None = setting(
        None,
        kinds.optional(kinds.positive_seconds),
        "Soft limit of every task's run time: SoftTimeLimitExceeded is raised in it.",
    )
    task_default_rate_limit: str | None = setting(
        None, kinds.optional(kinds.text), "Rate limit of tasks without one of their own, per worker: 100/m, 10/s, 5/h."
    )
    worker_disable_rate_limits: bool = setting(False, kinds.flag, "Ignore all rate limits.")
    worker_max_tasks_per_child: int | None = setting(
        None, kinds.optional(kinds.integer(1, unit="tasks")), "Tasks after which a prefork child is replaced."
    )
    worker_max_tasks_per_child_jitter: int = setting(
        0, kinds.integer(0, unit="tasks"), "Up to this many more, by chance per child, so that not all end at once."
    )
    worker_max_memory_per_child: int | None = setting(
        None,
        kinds.optional(kinds.memory),
        "Resident memory after which a prefork child is replaced, once its task has ended; "
        "in other pools the worker is restarted warm.",
    )
    worker_max_memory: int | None = setting(
        None,
        kinds.optional(kinds.memory),
        "Memory of worker and children together. At 90 % of it the worker takes no more tasks, "
        "lets running ones end and exits with 75.",
    )
    worker_proc_alive_timeout: float = setting(
        4.0,
        kinds.positive_seconds,
        "How long a prefork child may take to come up, to begin a job that it was given or to end; then it is killed "
        "and replaced, and the job goes elsewhere.",
    )
    worker_autoscale: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Most and fewest slots, as MAX,MIN in any order: the pool follows the load between them.",
    )
    worker_autoscaler: str = setting(
        "amqtask.worker.autoscaling:Autoscaler", kinds.text, "Class that decides how many slots there are."
    )
