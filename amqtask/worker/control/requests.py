"""Deliveries as remote control tells of them: Celery's request info. Owns the reading of what can be read here.

Any client may have written the bodies, and this is the I/O thread: large and compressed ones are not decoded, nor is
pickle, nor what lacks the signature that it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import AmqtaskError
from amqtask.wire.accept import without_pickle
from amqtask.wire.codec import decode
from amqtask.wire.signing import Signer
from amqtask.worker.control.panel import own

if TYPE_CHECKING:
    from amqtask.control.registry import Panel
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.pools.base import Running

_BODY_MAX = 65_536
"""Bytes of a body that is decoded."""


def running(panel: Panel) -> list[tuple[Delivery, Running | None]]:
    """What runs here: each delivery, and what the pool knows of it."""
    begun = {one.key: one for one in panel.worker.pool.running()}
    return [(one, begun[one.key]) for one in panel.worker.custody.running if one.key in begun]


def waiting(panel: Panel) -> list[Delivery]:
    """What is held here and has not been begun."""
    custody, limits = panel.worker.custody, own(panel).limits
    begun = {one.key for one in panel.worker.pool.running()}
    handed = [one for one in custody.running if one.key not in begun and one.name not in custody.own]
    return [*handed, *custody.waiting, *limits.parked(custody.waiting)]


def info(panel: Panel, delivery: Delivery, begun: Running | None = None, *, safe: bool = False) -> dict[str, Any]:
    """A delivery in Celery's words.

    Args:
        panel: of the worker.
        delivery: one of its own.
        begun: what the pool knows of it; None: it has not been begun.
        safe: arguments as text.
    """
    headers = delivery.properties.headers or {}
    args, kwargs = _texts(panel, delivery) if safe else _values(panel, delivery)
    return {
        "id": delivery.id,
        "name": headers.get("shadow") or delivery.name,
        "args": args,
        "kwargs": kwargs,
        "type": delivery.name,
        "hostname": panel.hostname,
        "time_start": None if begun is None else _since(delivery, begun),
        "acknowledged": delivery.early,
        "delivery_info": {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": delivery.priority,
            "redelivered": delivery.redelivered,
            "queue": delivery.queue,
        },
        "worker_pid": None if begun is None else begun.pid,
    }


def _since(delivery: Delivery, begun: Running) -> float:
    return begun.since or clock.wall() - (clock.monotonic() - delivery.since)


def _values(panel: Panel, delivery: Delivery) -> tuple[Any, Any]:
    decoded = _decoded(panel, delivery)
    return _texts(panel, delivery) if decoded is None else decoded


def _texts(panel: Panel, delivery: Delivery) -> tuple[str, str]:
    headers = delivery.properties.headers or {}
    args, kwargs = headers.get("argsrepr"), headers.get("kwargsrepr")
    if isinstance(args, str) and isinstance(kwargs, str):
        return args, kwargs
    decoded = _decoded(panel, delivery)
    if decoded is None:
        return "?", "?"
    return repr(tuple(decoded[0])), repr(decoded[1])


def _decoded(panel: Panel, delivery: Delivery) -> tuple[list[Any], dict[str, Any]] | None:
    properties, body, settings = delivery.properties, delivery.body, panel.app.settings
    if len(body) > _BODY_MAX or (properties.headers or {}).get("compression"):
        return None
    try:
        Signer(settings).verify(properties, body, any_age=True)
        message = decode(properties, body, without_pickle(settings.accept_content))
    except AmqtaskError:
        return None
    return list(message.args), message.kwargs
