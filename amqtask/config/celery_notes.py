"""Settings of Celery's that do nothing in amqtask: why, and what does. Owns these texts.

Every setting of Celery is one of amqtask's, is translated into one (:mod:`amqtask.config.celery_values`), or is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from amqtask.config.celery_values import RENAMED


class Note(NamedTuple):
    """Why a setting does nothing.

    Attributes:
        why: for people; the end of a sentence.
        same: values that ask for what is done anyway; the first one is what reading the setting gives.
    """

    why: str
    same: tuple[Any, ...] = (None,)


def note_of(name: str) -> Note | None:
    """The note on a setting of Celery's; None when it has an effect."""
    found = _NOTES.get(name)
    if found is None and name not in RENAMED:
        found = next((note for start, note in _STORES.items() if name.startswith(start)), None)
    return found


def lost(name: str, value: Any) -> str:
    """What giving this value to such a setting does not do; an empty text when nothing is lost."""
    note = note_of(name)
    if (
        note is None
        or value in ({}, ())
        or any(value is same or (value == same and type(value) is type(same)) for same in note.same)
    ):
        return ""
    if name == "broker_transport_options":
        return _transport_options(value, note)
    if name == "broker_pool_limit" and value != 0:
        return ""  # one channel is never too many
    return note.why


def _transport_options(value: Any, note: Note) -> str:
    if not isinstance(value, Mapping):
        return note.why
    idle = [str(key) for key, given in value.items() if (key, given) != ("confirm_publish", True)]
    return f"{note.why}: {', '.join(idle)}" if idle else ""


_ALWAYS_RETRIED = "a publish is tried again until broker_confirm_timeout is over"
_RECONNECTS = "connections are made again until the program is stopped, with growing pauses"
_BY_FILE = "its parts are not made of classes in the settings; see steps and pools"
_NO_CHANGE = "its queues are declared as Celery's clients expect them"
_SIGNED = "messages are signed by message_signing_keys instead"
_NOT_POLLED = "nothing polls for the members of a chord"
_IN_URL = "write it into result_backend"
_REDIS_URL = f"{_IN_URL}, as redis://user:password@host:6379/0"
_WAITS_IN_BROKER = "tasks with an eta wait in the broker, not in workers"

_STORES = {
    "arangodb_": Note("there is no ArangoDB backend; see result_backend"),
    "azureblockblob_": Note("there is no Azure backend; see result_backend"),
    "cosmosdbsql_": Note("there is no CosmosDB backend; see result_backend"),
    "couchbase_": Note("there is no Couchbase backend; see result_backend"),
    "gcs_": Note("there is no Google Cloud backend; see result_backend"),
    "s3_": Note("there is no S3 backend; see result_backend"),
    "cassandra_": Note("write cassandra://user:password@host,host/keyspace into result_backend"),
    "mongodb_": Note("write mongodb://user:password@host/db into result_backend"),
    "elasticsearch_": Note("the backend's own limits hold; see result_backend"),
    "redis_": Note("write it into result_backend, as redis://:password@host:6379/0?client_name=shop"),
    "database_": Note("tables and connections are the backend's own; write db+<SQLAlchemy URL> into result_backend"),
    "cache_": Note("write cache+memcached://host:11211/ into result_backend"),
    "security_": Note(_SIGNED),
}
"""Starts of the names of settings of one result store or another."""

_NOTES = {
    "beat_cron_starting_deadline": Note("entries say themselves what is caught up: catchup and deadline"),
    "beat_remote_control_max_tick_age": Note("health checks tell whether the scheduler looks at the clock"),
    "broker_channel_error_retry": Note(_RECONNECTS, (True, False, None)),
    "broker_connection_max_retries": Note(_RECONNECTS, (None, 0, 100)),
    "broker_connection_retry": Note(_RECONNECTS, (True, None)),
    "broker_heartbeat_checkrate": Note(
        "the broker is checked as often as broker_heartbeat needs", (3.0, 3, 2.0, 2, None)
    ),
    "broker_login_method": Note("the way to log in is PLAIN", ("PLAIN", None)),
    "broker_pool_acquire_timeout": Note("nobody waits for a connection: threads share one"),
    "broker_pool_limit": Note("a process sends through one connection, whatever the number of its threads"),
    "broker_transport": Note("the broker is RabbitMQ, by broker_url", ("amqp", "pyamqp", None)),
    "broker_transport_options": Note("RabbitMQ needs none of these (some are Redis's)", ({}, None)),
    "control_queue_durable": Note(_NO_CHANGE, (False, None)),
    "control_queue_exclusive": Note(_NO_CHANGE, (True, False, None)),
    "enable_utc": Note("times in messages are always UTC; timezone is for people and schedules", (True, None)),
    "event_queue_durable": Note(_NO_CHANGE, (False, None)),
    "event_queue_exclusive": Note(_NO_CHANGE, (True, False, None)),
    "event_serializer": Note("events are JSON, which all receivers read", ("json", None)),
    "redis_backend_use_ssl": Note(
        "write rediss://, for TLS, into result_backend: rediss://:password@host:6379/0?ssl_ca_certs=/etc/ca.pem",
        (None, False),
    ),
    "redis_db": Note(_REDIS_URL),
    "redis_host": Note(_REDIS_URL),
    "redis_password": Note(_REDIS_URL),
    "redis_port": Note(_REDIS_URL),
    "redis_retry_on_timeout": Note(
        "what fails is always tried once more, and later until it works", (True, False, None)
    ),
    "redis_socket_connect_timeout": Note("write ?socket_connect_timeout=SECONDS behind result_backend (else it is 5)"),
    "redis_socket_keepalive": Note("connections are always kept alive", (True, False, None)),
    "redis_socket_timeout": Note(
        "write ?socket_timeout=SECONDS behind result_backend (else it is 30)", (30, 30.0, None)
    ),
    "redis_username": Note(_REDIS_URL),
    "result_backend_always_retry": Note("workers keep a message until its result is stored", (True, None)),
    "result_backend_base_sleep_between_retries_ms": Note("workers keep a message until its result is stored"),
    "result_backend_max_retries": Note("workers keep a message until its result is stored"),
    "result_backend_max_sleep_between_retries_ms": Note("workers keep a message until its result is stored"),
    "result_cache_max": Note("handles keep their own results, and nothing else does", (False, -1, 0, None)),
    "result_chord_join_timeout": Note(_NOT_POLLED, (3.0, 3, None)),
    "result_chord_retry_interval": Note(_NOT_POLLED, (1.0, 1, None)),
    "result_exchange": Note("results go to the caller's queue directly", ("celeryresults", None)),
    "result_exchange_type": Note("results go to the caller's queue directly", ("direct", None)),
    "result_failure_expires": Note("result_expires holds for failures too"),
    "task_create_missing_queue_exchange_type": Note("the exchange of such a queue is direct", ("direct", None)),
    "task_create_missing_queue_type": Note("task_default_queue_type says it for all queues"),
    "task_protocol": Note("messages are of protocol 2, and both are read", (2, None)),
    "task_publish_retry": Note(_ALWAYS_RETRIED, (True, None)),
    "task_publish_retry_policy": Note(_ALWAYS_RETRIED),
    "task_remote_tracebacks": Note("tracebacks travel as text", (False, None)),
    "task_repr_maxlevels": Note("arguments in events are cut by their length", (3, None)),
    "task_retry_on_worker_lost": Note("a task whose worker died always runs again", (True, None)),
    "task_store_eager_result": Note("the results of eager calls stay with their handles", (False, None)),
    "worker_agent": Note(_BY_FILE),
    "worker_cancel_long_running_tasks_on_connection_loss": Note(
        "tasks go on when the connection is lost, and their redelivery is recognised", (False, None)
    ),
    "worker_consumer": Note(_BY_FILE, ("celery.worker.consumer:Consumer", None)),
    "worker_deduplicate_successful_tasks": Note("worker_dedupe_window does it", (True, None)),
    "worker_detect_quorum_queues": Note("prefetch is always per consumer, which quorum queues want", (True, None)),
    "worker_direct": Note("start the worker with a queue of its own: -Q NAME", (False, None)),
    "worker_enable_prefetch_count_reduction": Note("a reconnected worker counts what it still runs", (True, None)),
    "worker_enable_soft_shutdown_on_idle": Note(_WAITS_IN_BROKER, (False, None)),
    "worker_eta_task_limit": Note(_WAITS_IN_BROKER),
    "worker_lost_wait": Note("a lost child is noticed at once", (10.0, 10, None)),
    "worker_pool_putlocks": Note("a child is given no more than it can begin", (True, None)),
    "worker_pool_restarts": Note("pools can always be restarted", (True, None)),
    "worker_pool_start_method": Note("children are forked by a process that has imported the tasks", ("fork", None)),
    "worker_state_db": Note("revocations are kept in the broker"),
    "worker_timer": Note(_BY_FILE),
    "worker_timer_precision": Note(_BY_FILE, (1.0, 1, None)),
}

REFUSED = frozenset({"broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost"})
"""Parts of a broker's address, which a program can't do without: giving one is an error that says what to write."""
