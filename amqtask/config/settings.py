"""Every setting amqtask has, each described once: type, default, unit, meaning.

Owns the list. Names are Celery's lower-case ones where Celery has the thing. ``docs/reference/settings.md``
and ``amqtask report`` are made from it; :mod:`amqtask.config.sources` fills it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from amqtask.config import kinds
from amqtask.config.beat_settings import BeatSettings
from amqtask.config.field import setting
from amqtask.config.limit_settings import LimitSettings
from amqtask.config.log_settings import LogSettings
from amqtask.config.operation_settings import OperationSettings
from amqtask.config.queue_settings import QueueSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.config.kinds import Kind

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class BasicSettings:
    """What every app has. Times in seconds, sizes in bytes."""

    broker_url: tuple[str, ...] = setting(
        ("amqp://guest:guest@localhost:5672/",),
        kinds.urls,
        "Broker to connect to, as amqp:// or amqps:// URL; a list, or URLs joined by ';', fails over. "
        "dev:// starts a dev broker for this process and its children.",
    )
    broker_failover_strategy: Literal["round-robin", "shuffle", "priority"] = setting(
        "round-robin",
        kinds.choice("round-robin", "shuffle", "priority"),
        "Order in which several broker URLs are tried; priority always starts with the first.",
    )
    broker_connection_timeout: float = setting(
        5.0, kinds.seconds, "Time for TCP, TLS and AMQP handshake together, per URL."
    )
    broker_heartbeat: int = setting(
        30, kinds.integer(0, 65535, "seconds"), "Heartbeat asked of the broker; 0 turns heartbeats off."
    )
    broker_confirm_timeout: float = setting(
        5.0,
        kinds.seconds,
        "How long a publish may take until it is confirmed, reconnects included; then PublishTimeout. Coroutines that "
        "wait for their turn behind others have it from then on.",
    )
    broker_blocked_timeout: float = setting(
        10.0,
        kinds.seconds,
        "How long the broker may block publishers (memory or disk alarm) before BrokerBlocked is raised.",
    )
    broker_max_message_size: int = setting(
        16 * _MEBIBYTE,
        kinds.integer(1, 512 * _MEBIBYTE, "bytes"),
        "Largest body that is sent; above it MessageTooLarge is raised before anything is sent. A compressed one may "
        "unpack to as much, at the sender and at the worker.",
    )
    broker_use_ssl: Mapping[str, Any] | None = setting(
        None,
        kinds.optional(kinds.table("ca_certs", "certfile", "keyfile", "verify")),
        "TLS for amqps:// URLs: PEM files, and verify (default true) for certificate and host name.",
    )
    broker_connection_retry_on_startup: bool = setting(
        True, kinds.flag, "A worker that finds no broker at start keeps trying; otherwise it exits with 69."
    )
    routing: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Path of routing.yaml; a relative one is seen from the current folder, then from the app's module.",
    )
    topology_mode: Literal["declare", "verify", "none"] = setting(
        "declare",
        kinds.choice("declare", "verify", "none"),
        "Whether missing queues and exchanges are declared, only verified to exist, or neither.",
    )
    delay_queue_type: Literal["quorum", "classic"] = setting(
        "quorum", kinds.choice("quorum", "classic"), "Queue type of the shared delay ladder (countdown, eta)."
    )
    task_default_queue: str = setting("amqtask", kinds.text, "Name of the queue of tasks that no route matches.")
    task_queues: Sequence[Any] | Mapping[str, Any] = setting(
        (),
        kinds.anything,
        "Queue values, or a Celery-style mapping: the topology in code, without routing.yaml.",
    )
    task_routes: Sequence[Any] | Mapping[str, Any] = setting(
        (), kinds.anything, "Route values, or Celery-style route mappings, for a topology in code."
    )
    task_serializer: str = setting("msgpack", kinds.text, "Serializer of messages: msgpack, json, yaml or pickle.")
    accept_content: tuple[str, ...] = setting(
        ("msgpack", "json"), kinds.texts, "Serializers a worker reads; other messages are dead-lettered."
    )
    task_compression: str | None = setting(
        None, kinds.optional(kinds.text), "Compression of message bodies: zlib, bz2, lzma or zstd."
    )
    task_compression_min: int = setting(
        1024, kinds.integer(0, unit="bytes"), "Bodies smaller than this are sent uncompressed."
    )
    task_default_priority: int = setting(
        0, kinds.integer(0, 9), "Priority (9 goes first) of messages that get none from call, task or route."
    )
    task_ignore_result: bool = setting(False, kinds.flag, "Tell workers to keep no results of tasks.")
    task_store_errors_even_if_ignored: bool = setting(
        False, kinds.flag, "Keep the errors of tasks whose results are ignored."
    )
    task_track_started: bool = setting(False, kinds.flag, "Store the state STARTED when a task begins to run.")
    result_backend: str | None = setting(
        None,
        kinds.optional(kinds.text),
        "Where results are kept: rpc://, redis://, rediss://, sentinel://, db+<SQLAlchemy URL>, mongodb://, "
        "cache+memcached://, elasticsearch://, cassandra://, file:///folder; none keeps none.",
    )
    result_backend_transport_options: Mapping[str, Any] | None = setting(
        None, kinds.anything, "Options of the result backend's own, as its page in the documentation lists them."
    )
    result_backend_max_connections: int = setting(
        10, kinds.integer(1, unit="connections"), "Connections of one process to the result backend; more wait."
    )
    result_expires: float = setting(
        86_400.0, kinds.seconds, "How long results are kept; 0 keeps them for ever where the backend can."
    )
    result_serializer: str = setting("json", kinds.text, "Serializer of results: json, msgpack or yaml.")
    result_accept_content: tuple[str, ...] | None = setting(
        None,
        kinds.optional(kinds.texts),
        "Serializers of results that are read; none: as accept_content. Pickle only with allow_insecure_pickle.",
    )
    result_compression: str | None = setting(
        None, kinds.optional(kinds.text), "Compression of stored results: zlib, bz2, lzma or zstd."
    )
    result_persistent: bool = setting(
        True, kinds.flag, "Results of rpc:// survive a restart of the broker, in the caller's queue."
    )
    result_extended: bool = setting(
        True, kinds.flag, "Store name, worker, queue, retries and run time of a task with its result."
    )
    result_track_sent: bool = setting(
        False, kinds.flag, "Store QUEUED or SCHEDULED when a task is sent, so that an unknown id can be told from it."
    )
    result_max_size: int = setting(
        16 * _MEBIBYTE,
        kinds.integer(1, 512 * _MEBIBYTE, "bytes"),
        "Largest result that is stored; a larger one makes the task fail with ResultTooLarge.",
    )
    chord_expires: float = setting(
        86_400.0,
        kinds.positive_seconds,
        "How long a chord may take; its body fails with ChordError then. Not in Redis with interop celery.",
    )
    interop: Literal["celery"] | None = setting(
        None,
        kinds.optional(kinds.choice("celery")),
        "With celery the app is part of a Celery system (json, queue 'celery', Celery's queues and exception names).",
    )
    allow_insecure_pickle: bool = setting(
        False,
        kinds.flag,
        "Accept pickle without signatures, and in results: who can write there can run code where it is read.",
    )
    message_signing_keys: Mapping[str, str] | None = setting(
        None,
        kinds.optional(kinds.secrets),
        "Key id -> secret (HMAC-SHA256), or -> ed25519 key with the extra auth; all are accepted.",
    )
    message_signing_key: str | None = setting(
        None, kinds.optional(kinds.text), "Id of the key that signs what is sent; none signs nothing."
    )
    message_signing_required: bool = setting(
        False, kinds.flag, "Act on nothing that has no valid signature; task messages without one are dead-lettered."
    )
    message_max_age: float | None = setting(
        None,
        kinds.optional(kinds.seconds),
        "Oldest signed task message that is accepted, by its signed time of sending.",
    )
    task_acks_late: bool = setting(
        True,
        kinds.flag,
        "Acknowledge when the task has ended (a crash runs it again); false: when it starts.",
    )
    task_allow_error_cb_on_chord_header: bool = setting(
        False,
        kinds.flag,
        "An errback that is linked to a chord is linked to each member of the header too: it is called for every one "
        "that fails, and for the chord.",
    )
    task_always_eager: bool = setting(
        False,
        kinds.flag,
        "Run tasks in the calling process instead of sending them, serialised as for sending. For tests.",
    )
    task_eager_propagates: bool = setting(
        False, kinds.flag, "Eager calls (apply, task_always_eager) raise what the task raises, instead of keeping it."
    )
    timezone: str = setting(
        "UTC",
        kinds.text,
        "Zone of times without one: eta and expires (with interop these are UTC), and schedules that name none.",
    )
    include: tuple[str, ...] = setting((), kinds.texts, "Modules that define tasks; workers import them.")
    worker_pool: str = setting("prefork", kinds.text, "What runs tasks: prefork, threads, asyncio, gevent or solo.")
    worker_concurrency: int | None = setting(
        None,
        kinds.optional(kinds.integer(1, unit="slots")),
        "How many tasks run at once; none lets the pool choose (prefork: the CPUs the process may use).",
    )
    worker_prefetch: int | None = setting(
        None,
        kinds.optional(kinds.integer(1, 65535, "messages")),
        "Messages a worker holds per queue; none: as the queue says, else by concurrency and run time.",
    )
    worker_queue_order: Literal["strict", "weighted", "fair"] = setting(
        "fair", kinds.choice("strict", "weighted", "fair"), "Which of a worker's queues is served first."
    )
    worker_shutdown_timeout: float = setting(
        30.0, kinds.seconds, "How long tasks may go on after SIGTERM before they are stopped and requeued."
    )
    worker_lost_max_deliveries: int = setting(
        3,
        kinds.integer(1, unit="deliveries"),
        "When this many workers or children were lost with a message, it goes to the dead letters.",
    )
    worker_dedupe_window: int = setting(
        10_000,
        kinds.integer(0, unit="messages"),
        "Finished messages a worker remembers, to recognise one that is delivered again; 0 turns that off.",
    )
    unknown_task_policy: Literal["retry", "dead"] = setting(
        "retry",
        kinds.choice("retry", "dead"),
        "A message for a task the worker lacks: try again later (rolling deploys), or dead-letter it.",
    )
    unknown_task_delays: tuple[timedelta, ...] = setting(
        (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10)),
        kinds.durations,
        "Delays of those later tries; after the last the message goes to the dead letters.",
    )


@dataclass(frozen=True, kw_only=True)
class Settings(BeatSettings, LogSettings, OperationSettings, LimitSettings, QueueSettings, BasicSettings):
    """One consistent set of settings; immutable. In the reference they stand from the last base to the first."""


IN_CELERY: Mapping[str, Any] = {
    "task_serializer": "json",
    "accept_content": ("json", "msgpack"),
    "task_default_queue": "celery",
}
"""What ``interop="celery"`` implies where nobody says otherwise."""

NAMES = tuple(item.name for item in fields(Settings))
"""Every setting's name, in the order of the reference."""

_FIELDS = {item.name: item for item in fields(Settings)}


def kind_of(name: str) -> Kind:
    """The kind of a setting."""
    return cast("Kind", _FIELDS[name].metadata["kind"])


def doc_of(name: str) -> str:
    """What a setting means, in a sentence or two."""
    return cast("str", _FIELDS[name].metadata["doc"])


def default_of(name: str) -> Any:
    """The value a setting has when nobody sets it."""
    return _FIELDS[name].default
