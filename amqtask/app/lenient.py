"""Options of a call as Celery takes them. Owns what becomes of values that amqtask refuses of its own callers.

They come from signatures that other programs have written, and from all callers with ``interop="celery"``. What says
nothing sensible even to Celery is left as it is, for the usual checks to refuse.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from amqtask.wire.codec import PROTOCOL_HEADERS
from amqtask.wire.message import PERSISTENT, TRANSIENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.tasks.options import CelerySendOptions
    from amqtask.topology.router import Router

MAX_PRIORITY: Final = 255
"""AMQP's priority is a byte; a queue takes one above its own limit for that."""

_DELIVERY_MODES: Final[Mapping[Any, int]] = {1: TRANSIENT, "1": TRANSIENT, "transient": TRANSIENT}
"""All others are persistent."""

_TOUCHED: Final = frozenset(
    {
        "countdown",
        "delivery_mode",
        "eta",
        "exchange",
        "expires",
        "headers",
        "priority",
        "queue",
        "routing_key",
        "soft_time_limit",
        "time_limit",
    }
)


def as_celery(options: Mapping[str, Any], router: Router) -> CelerySendOptions:
    """The options that amqtask takes for what Celery would do with these; the same object when there is nothing to do.

    A priority is held to 0..255; a negative countdown means now, and one beside an eta wins; times may be ISO 8601
    texts; floats in headers become texts; a soft limit beyond the hard one says nothing; an exchange and key beside a
    queue hold if a declared queue is bound so, else the queue does.

    Args:
        options: of a call.
        router: knows what is declared.
    """
    if _TOUCHED.isdisjoint(options):
        return cast("CelerySendOptions", options)
    new = {name: value for name, value in options.items() if value is not None}
    if isinstance(priority := new.get("priority"), int) and not isinstance(priority, bool):
        new["priority"] = min(max(priority, 0), MAX_PRIORITY)
    _fix_start(new)
    if (expires := new.get("expires")) is not None:
        new["expires"] = _not_negative(_moment(expires))
    _fix_limits(new)
    if isinstance(headers := new.get("headers"), dict):
        new["headers"] = {name: _as_amqp(value) for name, value in headers.items() if name not in PROTOCOL_HEADERS}
    if "delivery_mode" in new:
        new["delivery_mode"] = _DELIVERY_MODES.get(new["delivery_mode"], PERSISTENT)
    if "queue" in new:
        _fix_destination(new, router)
    return cast("CelerySendOptions", new)


def _as_amqp(value: Any) -> Any:
    """A header's value as AMQP clients agree on it: most would cut a float to an int."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {name: _as_amqp(one) for name, one in value.items()}
    return [_as_amqp(one) for one in value] if isinstance(value, list | tuple) else value


def _fix_start(new: dict[str, Any]) -> None:
    if "eta" in new:
        new["eta"] = _moment(new["eta"])
    if "countdown" not in new:
        return
    new["countdown"] = _not_negative(new["countdown"])
    if "eta" in new:
        del new["eta" if new["countdown"] else "countdown"]


def _fix_limits(new: dict[str, Any]) -> None:
    for name in ("time_limit", "soft_time_limit"):
        if _is_number(new.get(name)) and new[name] <= 0:
            del new[name]
    hard, soft = new.get("time_limit"), new.get("soft_time_limit")
    if isinstance(hard, int | float) and isinstance(soft, int | float) and soft > hard:
        del new["soft_time_limit"]


def _fix_destination(new: dict[str, Any], router: Router) -> None:
    exchange, key = new.get("exchange"), new.get("routing_key")
    if exchange is None and key is None:
        return
    if exchange and isinstance(exchange, str) and router.queues_for(exchange, str(key or ""), new.get("headers")):
        del new["queue"]
        return
    new.pop("exchange", None)
    new.pop("routing_key", None)


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _not_negative(value: Any) -> Any:
    if isinstance(value, timedelta):
        return max(value, timedelta(0))
    return max(value, 0) if _is_number(value) and not math.isnan(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
