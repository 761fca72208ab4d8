"""Values of Celery's settings in amqtask's words, where both differ. Owns these translations, setting by setting."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from amqtask.errors import ConfigError
from amqtask.topology.declarations import Exchange, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

RENAMED = {
    "imports": "include",
    "redis_max_connections": "result_backend_max_connections",
    "result_chord_expires": "chord_expires",
}
"""Celery's name -> amqtask's, where the thing is the same."""

_CONTENT = {
    "application/json": "json",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": "pickle",
}
_SCHEMES = {"pyamqp": "amqp", "librabbitmq": "amqp", "pyamqps": "amqps"}


def translated(name: str, value: Any) -> Any:
    """The value for amqtask's setting of this name.

    Raises:
        ConfigError: it has no counterpart.
    """
    change = _CHANGES.get(name)
    return value if change is None else change(value)


def _urls(value: Any) -> Any:
    if value is None:
        return value
    texts = value.split(";") if isinstance(value, str) else value
    return [_url(text.strip()) for text in texts]


def _url(text: str) -> str:
    """As Celery reads it: ``//`` at the end is the vhost ``/``, and guest needs no password."""
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
    if value in ("disabled", "", None):
        return None
    return f"{value}://" if isinstance(value, str) and value.isalpha() else value


def _accept(value: Any) -> Any:
    return [_CONTENT.get(item, item) for item in ([value] if isinstance(value, str) else value or ())]


def _never(value: Any) -> Any:
    return 0 if value is None else value


def _heartbeat(value: Any) -> int:
    return int(value or 0)


def _tls(value: Any) -> Any:
    """Keyword arguments of Python's ``ssl``, as kombu takes them."""
    if not value:
        return None
    if value is True:
        raise ConfigError('broker_use_ssl=True: write an amqps:// URL, or {"ca_certs": ...}')
    made = {name: given for name, given in value.items() if name != "cert_reqs"}
    if "cert_reqs" in value:
        made["verify"] = value["cert_reqs"] != ssl.CERT_NONE
    return made


def _queues(value: Any) -> Any:
    if value is None:
        return ()
    return value if isinstance(value, dict) else [_queue(item) for item in value]


def _queue(item: Any) -> Any:
    """A queue of amqtask; kombu's are known by their attributes."""
    if isinstance(item, str | Queue) or not hasattr(item, "queue_arguments"):
        return item
    exchange = getattr(item, "exchange", None)
    named = getattr(exchange, "name", "")
    return Queue(
        item.name,
        Exchange(named, getattr(exchange, "type", "direct")) if named else None,
        item.routing_key or None,
        max_priority=item.max_priority,
        arguments=dict(item.queue_arguments or {}),
    )


def _routes(value: Any) -> Any:
    return () if value is None else value


def _modules(value: Iterable[str] | str) -> Any:
    return (value,) if isinstance(value, str) else tuple(value)


_CHANGES: Mapping[str, Callable[[Any], Any]] = {
    "broker_url": _urls,
    "broker_use_ssl": _tls,
    "broker_heartbeat": _heartbeat,
    "result_backend": _backend,
    "result_expires": _never,
    "accept_content": _accept,
    "task_queues": _queues,
    "task_routes": _routes,
    "include": _modules,
}
