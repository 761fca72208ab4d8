"""Celery's settings by name: those that Celery has, and their old upper-case names. Owns the two tables.

Both were read from Celery 5.7. An old name that is not listed is ``CELERY_`` and the new one, or just the new one.
"""

from __future__ import annotations

import difflib

from amqtask.config.settings import NAMES

_TEXT = """
accept_content arangodb_backend_settings azureblockblob_base_path azureblockblob_connection_timeout
azureblockblob_container_name azureblockblob_read_timeout azureblockblob_retry_increment_base
azureblockblob_retry_initial_backoff_sec azureblockblob_retry_max_attempts beat_cron_starting_deadline
beat_enable_remote_control beat_max_loop_interval beat_remote_control_max_tick_age beat_schedule
beat_schedule_filename beat_scheduler beat_sync_every broker_channel_error_retry broker_connection_max_retries
broker_connection_retry broker_connection_retry_on_startup broker_connection_timeout broker_failover_strategy
broker_heartbeat broker_heartbeat_checkrate broker_host broker_login_method
broker_native_delayed_delivery_queue_type broker_password broker_pool_acquire_timeout broker_pool_limit broker_port
broker_read_url broker_transport broker_transport_options broker_url broker_use_ssl broker_user broker_vhost
broker_write_url cache_backend cache_backend_options cassandra_auth_kwargs cassandra_auth_provider
cassandra_bundle_path cassandra_entry_ttl cassandra_keyspace cassandra_options cassandra_port
cassandra_read_consistency cassandra_servers cassandra_table cassandra_write_consistency control_exchange
control_queue_durable control_queue_exclusive control_queue_expires control_queue_ttl cosmosdbsql_collection_name
cosmosdbsql_consistency_level cosmosdbsql_database_name cosmosdbsql_max_retry_attempts
cosmosdbsql_max_retry_wait_time couchbase_backend_settings database_create_tables_at_setup database_engine_callback
database_engine_options database_short_lived_sessions database_table_names database_table_schemas database_url
elasticsearch_max_retries elasticsearch_retry_on_timeout elasticsearch_save_meta_as_text elasticsearch_timeout
enable_utc event_exchange event_queue_durable event_queue_exclusive event_queue_expires event_queue_prefix
event_queue_ttl event_serializer gcs_base_path gcs_bucket gcs_project gcs_ttl imports include
mongodb_backend_settings redis_backend_use_ssl redis_db redis_host redis_max_connections redis_password redis_port
redis_retry_on_timeout redis_socket_connect_timeout redis_socket_keepalive redis_socket_timeout redis_username
result_accept_content result_backend result_backend_always_retry result_backend_base_sleep_between_retries_ms
result_backend_max_retries result_backend_max_sleep_between_retries_ms result_backend_transport_options
result_cache_max result_chord_expires result_chord_join_timeout result_chord_retry_interval result_compression
result_exchange result_exchange_type result_expires result_extended result_failure_expires result_persistent
result_serializer s3_access_key_id s3_base_path s3_bucket s3_endpoint_url s3_region s3_secret_access_key
security_cert_store security_certificate security_digest security_key security_key_password task_acks_late
task_acks_on_failure task_acks_on_failure_or_timeout task_acks_on_timeout task_allow_error_cb_on_chord_header
task_always_eager task_annotations task_compression task_create_missing_queue_exchange_type
task_create_missing_queue_type task_create_missing_queues task_default_delivery_mode task_default_exchange
task_default_exchange_type task_default_priority task_default_queue task_default_queue_type task_default_rate_limit
task_default_routing_key task_eager_propagates task_ignore_result task_inherit_parent_priority task_protocol
task_publish_retry task_publish_retry_policy task_queue_max_priority task_queues task_reject_on_worker_lost
task_remote_tracebacks task_repr_maxlevels task_retry_on_worker_lost task_routes task_send_sent_event
task_serializer task_soft_time_limit task_store_eager_result task_store_errors_even_if_ignored task_time_limit
task_track_started timezone worker_agent worker_autoscaler worker_cancel_long_running_tasks_on_connection_loss
worker_concurrency worker_consumer worker_deduplicate_successful_tasks worker_detect_quorum_queues worker_direct
worker_disable_prefetch worker_disable_rate_limits worker_enable_prefetch_count_reduction
worker_enable_remote_control worker_enable_soft_shutdown_on_idle worker_eta_task_limit worker_hijack_root_logger
worker_log_color worker_log_datefmt worker_log_format worker_lost_wait worker_max_memory_per_child
worker_max_tasks_per_child worker_pool worker_pool_putlocks worker_pool_restarts worker_pool_start_method
worker_prefetch_multiplier worker_proc_alive_timeout worker_redirect_stdouts worker_redirect_stdouts_level
worker_send_task_events worker_soft_shutdown_timeout worker_state_db worker_task_log_datefmt worker_task_log_format
worker_timer worker_timer_precision
"""

CELERY_NAMES = frozenset(_TEXT.split())
"""Every setting of Celery, by its name of today."""

OLD_NAMES = {
    "CELERYBEAT_CRON_STARTING_DEADLINE": "beat_cron_starting_deadline",
    "CELERYBEAT_ENABLE_REMOTE_CONTROL": "beat_enable_remote_control",
    "CELERYBEAT_MAX_LOOP_INTERVAL": "beat_max_loop_interval",
    "CELERYBEAT_REMOTE_CONTROL_MAX_TICK_AGE": "beat_remote_control_max_tick_age",
    "CELERYBEAT_SCHEDULE": "beat_schedule",
    "CELERYBEAT_SCHEDULER": "beat_scheduler",
    "CELERYBEAT_SCHEDULE_FILENAME": "beat_schedule_filename",
    "CELERYBEAT_SYNC_EVERY": "beat_sync_every",
    "CELERYD_AGENT": "worker_agent",
    "CELERYD_AUTOSCALER": "worker_autoscaler",
    "CELERYD_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS": "worker_cancel_long_running_tasks_on_connection_loss",
    "CELERYD_CONCURRENCY": "worker_concurrency",
    "CELERYD_CONSUMER": "worker_consumer",
    "CELERYD_DEDUPLICATE_SUCCESSFUL_TASKS": "worker_deduplicate_successful_tasks",
    "CELERYD_DETECT_QUORUM_QUEUES": "worker_detect_quorum_queues",
    "CELERYD_DISABLE_PREFETCH": "worker_disable_prefetch",
    "CELERYD_ENABLE_PREFETCH_COUNT_REDUCTION": "worker_enable_prefetch_count_reduction",
    "CELERYD_ENABLE_SOFT_SHUTDOWN_ON_IDLE": "worker_enable_soft_shutdown_on_idle",
    "CELERYD_ETA_TASK_LIMIT": "worker_eta_task_limit",
    "CELERYD_HIJACK_ROOT_LOGGER": "worker_hijack_root_logger",
    "CELERYD_LOG_COLOR": "worker_log_color",
    "CELERYD_LOG_DATEFMT": "worker_log_datefmt",
    "CELERYD_LOG_FORMAT": "worker_log_format",
    "CELERYD_MAX_MEMORY_PER_CHILD": "worker_max_memory_per_child",
    "CELERYD_MAX_TASKS_PER_CHILD": "worker_max_tasks_per_child",
    "CELERYD_POOL": "worker_pool",
    "CELERYD_POOL_PUTLOCKS": "worker_pool_putlocks",
    "CELERYD_POOL_RESTARTS": "worker_pool_restarts",
    "CELERYD_POOL_START_METHOD": "worker_pool_start_method",
    "CELERYD_PREFETCH_MULTIPLIER": "worker_prefetch_multiplier",
    "CELERYD_PROC_ALIVE_TIMEOUT": "worker_proc_alive_timeout",
    "CELERYD_SOFT_SHUTDOWN_TIMEOUT": "worker_soft_shutdown_timeout",
    "CELERYD_STATE_DB": "worker_state_db",
    "CELERYD_TASK_LOG_DATEFMT": "worker_task_log_datefmt",
    "CELERYD_TASK_LOG_FORMAT": "worker_task_log_format",
    "CELERYD_TASK_SOFT_TIME_LIMIT": "task_soft_time_limit",
    "CELERYD_TASK_TIME_LIMIT": "task_time_limit",
    "CELERYD_TIMER": "worker_timer",
    "CELERYD_TIMER_PRECISION": "worker_timer_precision",
    "CELERYD_WORKER_LOST_WAIT": "worker_lost_wait",
    "CELERY_ACKS_LATE": "task_acks_late",
    "CELERY_ACKS_ON_FAILURE": "task_acks_on_failure",
    "CELERY_ACKS_ON_FAILURE_OR_TIMEOUT": "task_acks_on_failure_or_timeout",
    "CELERY_ACKS_ON_TIMEOUT": "task_acks_on_timeout",
    "CELERY_ALLOW_ERROR_CB_ON_CHORD_HEADER": "task_allow_error_cb_on_chord_header",
    "CELERY_ALWAYS_EAGER": "task_always_eager",
    "CELERY_ANNOTATIONS": "task_annotations",
    "CELERY_CREATE_MISSING_QUEUES": "task_create_missing_queues",
    "CELERY_CREATE_MISSING_QUEUE_EXCHANGE_TYPE": "task_create_missing_queue_exchange_type",
    "CELERY_CREATE_MISSING_QUEUE_TYPE": "task_create_missing_queue_type",
    "CELERY_DEFAULT_DELIVERY_MODE": "task_default_delivery_mode",
    "CELERY_DEFAULT_EXCHANGE": "task_default_exchange",
    "CELERY_DEFAULT_EXCHANGE_TYPE": "task_default_exchange_type",
    "CELERY_DEFAULT_PRIORITY": "task_default_priority",
    "CELERY_DEFAULT_QUEUE": "task_default_queue",
    "CELERY_DEFAULT_QUEUE_TYPE": "task_default_queue_type",
    "CELERY_DEFAULT_RATE_LIMIT": "task_default_rate_limit",
    "CELERY_DEFAULT_ROUTING_KEY": "task_default_routing_key",
    "CELERY_DISABLE_RATE_LIMITS": "worker_disable_rate_limits",
    "CELERY_EAGER_PROPAGATES_EXCEPTIONS": "task_eager_propagates",
    "CELERY_ENABLE_REMOTE_CONTROL": "worker_enable_remote_control",
    "CELERY_IGNORE_RESULT": "task_ignore_result",
    "CELERY_INHERIT_PARENT_PRIORITY": "task_inherit_parent_priority",
    "CELERY_MAX_CACHED_RESULTS": "result_cache_max",
    "CELERY_MESSAGE_COMPRESSION": "task_compression",
    "CELERY_QUEUES": "task_queues",
    "CELERY_QUEUE_MAX_PRIORITY": "task_queue_max_priority",
    "CELERY_REDIRECT_STDOUTS": "worker_redirect_stdouts",
    "CELERY_REDIRECT_STDOUTS_LEVEL": "worker_redirect_stdouts_level",
    "CELERY_REJECT_ON_WORKER_LOST": "task_reject_on_worker_lost",
    "CELERY_REMOTE_TRACEBACKS": "task_remote_tracebacks",
    "CELERY_REPR_MAXLEVELS": "task_repr_maxlevels",
    "CELERY_RESULT_DBURI": "database_url",
    "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS": "database_short_lived_sessions",
    "CELERY_RESULT_DB_TABLENAMES": "database_table_names",
    "CELERY_RESULT_ENGINE_OPTIONS": "database_engine_options",
    "CELERY_RETRY_ON_WORKER_LOST": "task_retry_on_worker_lost",
    "CELERY_ROUTES": "task_routes",
    "CELERY_SEND_EVENTS": "worker_send_task_events",
    "CELERY_SEND_TASK_SENT_EVENT": "task_send_sent_event",
    "CELERY_STORE_EAGER_RESULT": "task_store_eager_result",
    "CELERY_STORE_ERRORS_EVEN_IF_IGNORED": "task_store_errors_even_if_ignored",
    "CELERY_TASK_RESULT_EXPIRES": "result_expires",
    "CELERY_TRACK_STARTED": "task_track_started",
}
"""Old name -> name of today, where the rule does not tell."""

PREFIXES = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")
"""What an old name starts with, unless it is no setting at all."""


def name_of_today(name: str, namespace: str | None = None) -> str | None:
    """The setting that a name stands for.

    Args:
        name: old or new.
        namespace: what all names start with, and ``_``; others are no settings.

    Returns:
        Celery's name of today, or amqtask's own; None when it stands for none.
    """
    if namespace:
        start = f"{namespace.upper()}_"
        if not name.startswith(start):
            return None
        name = name.removeprefix(start)
        return _known(name.lower()) or OLD_NAMES.get(f"CELERY_{name}")
    if not name.isupper():
        return _known(name)
    return OLD_NAMES.get(name) or _known(name.removeprefix("CELERY_").lower())


def looks_like_one(name: str, namespace: str | None = None) -> bool:
    """Whether a name that stands for no setting must have been meant to: nothing else starts like that."""
    return name.startswith(f"{namespace.upper()}_" if namespace else PREFIXES)


def hint(name: str, namespace: str | None = None) -> str:
    """What an unknown name may have been meant to be, for the end of a message; may be empty."""
    rest = name.removeprefix(f"{namespace.upper()}_") if namespace else name
    meant = _nearest(rest.lower()) or _nearest(rest.removeprefix("CELERY_").lower())
    return f"; did you mean {meant!r}?" if meant else ""


def _nearest(name: str) -> str:
    """Of the names that are spelt like it, the one with the most of its words and the fewest others."""
    words = set(name.split("_"))

    def fit(known: str) -> float:
        found = set(known.split("_"))
        return len(found & words) - len(found - words) / 2

    near = difflib.get_close_matches(name, CELERY_NAMES | set(NAMES), n=3, cutoff=0.6)
    return max(near, key=fit, default="")


def _known(name: str) -> str | None:
    return name if name in CELERY_NAMES or name in NAMES else None
