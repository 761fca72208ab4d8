"""Settings for operating workers: their life, remote control, events; and the outbox. Owns this part of the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from amqtask.config import kinds
from amqtask.config.field import setting


@dataclass(frozen=True, kw_only=True)
class OperationSettings:
    """Life of a worker, remote control, events. Times in seconds."""

    worker_health: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Address for health checks over HTTP, [HOST]:PORT: /livez, /readyz, /startupz.",
    )
    worker_metrics: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Address where Prometheus reads the metrics of a worker or scheduler, [HOST]:PORT; with pools of routing.yaml, "
        "`up` and `dev` add 0, 1, 2 ... to the port, in the order of the pools.",
    )
    tracing: Literal["auto", "on", "off"] = setting(
        "auto",
        kinds.choice("auto", "on", "off"),
        "OpenTelemetry's spans, and the trace in messages: auto, where the program has configured a tracer provider; "
        "on, also where it has not, which passes traces on; off.",
    )
    worker_watchdog_interval: float = setting(
        30.0,
        kinds.positive_seconds,
        "How often a worker proves that the broker sees its consumers and children answer.",
    )
    worker_watchdog_timeout: float = setting(
        90.0,
        kinds.seconds,
        "When that proof has failed for this long, stacks are written, work is handed back and the worker exits with "
        "75; 0 turns the watchdog off. A scheduler whose loop hangs for this long ends like that, too.",
    )
    no_progress_after: float | None = setting(
        None,
        kinds.optional(kinds.positive_seconds),
        "Alarm when a consumed queue holds messages and this worker has finished nothing for this long.",
    )
    no_progress_command: str | None = setting(
        None, kinds.optional(kinds.text), "Shell command that such an alarm runs; AMQTASK_ALARM holds its text."
    )
    worker_enable_remote_control: bool = setting(True, kinds.flag, "Listen to remote control.")
    control_exchange: str = setting(
        "celery", kinds.text, "Prefix of the control exchanges: NAME.pidbox and reply.NAME.pidbox."
    )
    control_queue_ttl: float = setting(300.0, kinds.positive_seconds, "Life of messages in control queues.")
    control_queue_expires: float = setting(10.0, kinds.positive_seconds, "Life of unused control queues.")
    revoke_expires: float = setting(
        86_400.0 * 7, kinds.positive_seconds, "How long a revocation is kept, and honoured by workers that start later."
    )
    worker_send_task_events: bool = setting(False, kinds.flag, "Workers send task events from the start (-E).")
    worker_heartbeat_interval: float = setting(
        2.0, kinds.positive_seconds, "How often a worker sends worker-heartbeat while somebody listens to events."
    )
    outbox_url: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Database with the outbox, for amqtask outbox: db+<SQLAlchemy URL>; in a Django project also the name of one "
        "of its databases, where default is the default.",
    )
    task_send_sent_event: bool = setting(False, kinds.flag, "Producers send task-sent events.")
    event_exchange: str = setting("celeryev", kinds.text, "Topic exchange of events.")
    event_queue_prefix: str = setting("celeryev", kinds.text, "Prefix of the queues of event receivers.")
    event_queue_ttl: float = setting(5.0, kinds.positive_seconds, "Life of messages in the queues of event receivers.")
    event_queue_expires: float = setting(60.0, kinds.positive_seconds, "Life of unused queues of event receivers.")
    event_history_age: float = setting(
        86_400.0,
        kinds.positive_seconds,
        "How long the history of events is kept, once a monitor or a Receiver with from_offset has made it.",
    )
    event_history_size: int = setting(
        128_000_000, kinds.integer(minimum=1_000_000, unit=" bytes"), "Size of the history of events; the oldest go."
    )
