"""Values of Celery's settings in amqtask's words, where both differ. Owns these translations, setting by setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amqtask.config.settings import default_of

RENAMED = {
    "broker_native_delayed_delivery_queue_type": "delay_queue_type",
    "redis_max_connections": "result_backend_max_connections",
    "result_chord_expires": "chord_expires",
    "worker_soft_shutdown_timeout": "worker_shutdown_timeout",
}
"""Celery's name -> amqtask's, where the thing is the same."""

_CONTENT = {
    "application/json": "json",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": "pickle",
}
_SCHEMES = {"pyamqp": "amqp", "librabbitmq": "amqp", "pyamqps": "amqps"}
_MODES = {"persistent": 2, "transient": 1}


def translated(name: str, value: Any) -> dict[str, Any]:
    """What a setting, under its name of today in Celery or amqtask, sets in amqtask.

    Returns:
        Name -> value; empty when it asks for what is done anyway.
    """
    if (several := _SEVERAL.get(name)) is not None:
        return several(value)
    own = RENAMED.get(name, name)
    change = _CHANGES.get(own)
    return {own: value if change is None else change(value)}


def _urls(value: Any) -> Any:
    if isinstance(value, str):
        return ";".join(_url(text) for text in value.split(";"))
    if isinstance(value, list | tuple):
        return [_url(text) if isinstance(text, str) else text for text in value]
    return value


def _url(text: str) -> str:
    """As Celery reads it: ``//`` at the end is the vhost ``/``, and guest needs no password."""
    text = text.strip()
    scheme, colon, rest = text.partition("://")
    scheme = _SCHEMES.get(scheme, scheme)
    if not colon or scheme not in ("amqp", "amqps"):
        return text
    if rest.startswith("guest@"):
        rest = f"guest:guest@{rest.removeprefix('guest@')}"
    if rest.endswith("//"):
        rest = rest[:-1]
    return f"{scheme}://{rest}"


def _backend(value: Any) -> Any:
    if value in ("disabled", "disabled://", "", None):
        return None
    return f"{value}://" if isinstance(value, str) and value.isalpha() else value


def _accept(value: Any) -> Any:
    if not isinstance(value, str | list | tuple | set | frozenset):
        return () if value is None else value
    return [_CONTENT.get(item, item) for item in ([value] if isinstance(value, str) else value)]


def _accept_results(value: Any) -> Any:
    return None if value is None else _accept(value)


def _never(value: Any) -> Any:
    return 0 if value is None else value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else _never(value)


def _tls(value: Any) -> Any:
    """Keyword arguments of Python's ``ssl``, as kombu takes them."""
    if not isinstance(value, Mapping):
        return None if value is False else value
    made = {name: given for name, given in value.items() if name != "cert_reqs"}
    if "cert_reqs" in value:
        import ssl  # noqa: PLC0415 -- large, and most settings do without

        made["verify"] = value["cert_reqs"] != ssl.CERT_NONE
    return made or None


def _nothing(value: Any) -> Any:
    return () if value is None else value


def _mode(value: Any) -> Any:
    return _MODES.get(value, value) if isinstance(value, str) else value


def _level(value: Any) -> Any:
    return str(value)


def _own_class(value: Any) -> Any:
    return _OWN_CLASSES.get(value, value) if isinstance(value, str) else value


_OWN_CLASSES = {
    "celery.worker.autoscale:Autoscaler": default_of("worker_autoscaler"),
    "celery.worker.autoscale.Autoscaler": default_of("worker_autoscaler"),
    "celery.beat:PersistentScheduler": "token",  # beat_schedule_filename makes it a file
    "celery.beat.PersistentScheduler": "token",
    "celery.beat:Scheduler": "token",
    "celery.beat.Scheduler": "token",
}
"""Paths of Celery's classes -> what does the same here."""


def _pool(value: Any) -> Any:
    """Celery's words for pools; ``processes`` is prefork there too."""
    return {"processes": "prefork", "celery.concurrency.prefork:TaskPool": "prefork"}.get(value, value)


def _never_lost(value: Any) -> dict[str, Any]:
    """``task_reject_on_worker_lost``: false gives a message no second chance."""
    return {} if value or value is None else {"worker_lost_max_deliveries": 1}


def _both(value: Any) -> dict[str, Any]:
    return {"task_acks_on_failure": value, "task_acks_on_timeout": value}


def _soft_shutdown(value: Any) -> dict[str, Any]:
    """0 turns Celery's soft shutdown off; here it would stop running tasks at once."""
    return {"worker_shutdown_timeout": value} if value else {}


_SEVERAL: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "task_acks_on_failure_or_timeout": _both,
    "task_reject_on_worker_lost": _never_lost,
    "worker_soft_shutdown_timeout": _soft_shutdown,
}
"""Settings that set another one, several, or nothing."""

OTHERWISE = frozenset(_SEVERAL)
"""Celery's names of those; reading them gives nothing."""

_CHANGES: Mapping[str, Callable[[Any], Any]] = {
    "accept_content": _accept,
    "beat_max_loop_interval": _never,
    "beat_scheduler": _own_class,
    "broker_heartbeat": _whole,
    "broker_read_url": _urls,
    "broker_url": _urls,
    "broker_use_ssl": _tls,
    "broker_write_url": _urls,
    "imports": _nothing,
    "include": _nothing,
    "result_accept_content": _accept_results,
    "result_backend": _backend,
    "result_expires": _never,
    "task_default_delivery_mode": _mode,
    "task_queues": _nothing,
    "task_routes": _nothing,
    "worker_autoscaler": _own_class,
    "worker_pool": _pool,
    "worker_redirect_stdouts_level": _level,
}
