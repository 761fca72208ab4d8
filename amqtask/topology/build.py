"""What was read from routing.yaml to declarations: defaults filled in, words turned into values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amqtask.topology.declarations import (
    Backoff,
    Binding,
    DeadLetter,
    Exchange,
    Pool,
    Queue,
    RetryPolicy,
    Route,
)
from amqtask.topology.model import assemble
from amqtask.topology.periodic import as_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.topology.model import Topology

Values = dict[str, Any]
"""A record as :mod:`amqtask.topology.records` reads it."""


def build(values: Mapping[str, Any], source: str, default_queue: str) -> Topology:
    """The topology of a whole document."""
    defaults: Values = (values.get("defaults") or {}).get("queue") or {}
    defaults = {key: value for key, value in defaults.items() if key != "where"}
    queues = values.get("queues") or {}
    exchanges = values.get("exchanges") or {}
    topology = assemble(
        exchanges={name: _exchange(name, item) for name, item in exchanges.items()},
        queues={name: _queue(name, defaults, item) for name, item in queues.items()},
        routes=tuple(Route(**item) for item in values.get("routes") or ()),
        pools={name: _pool(name, item) for name, item in (values.get("pools") or {}).items()},
        default=_queue(default_queue, defaults, {}),
        source=source,
    )
    schedule = {name: as_entry(item) for name, item in (values.get("schedule") or {}).items()}
    return replace(topology, schedule=schedule)


def _queue(name: str, defaults: Values, own: Values) -> Queue:
    """A key that the queue writes replaces the default's whole value."""
    values = {**defaults, **own}
    if values.get("max_priority") is not None and "type" not in own and values.get("type") == "quorum":
        # the default type is no reason to refuse priorities: the layout chooses what the broker can rank
        del values["type"]
    if values.get("retry") is not None:
        values["retry"] = _retry(values["retry"])
    if "dead_letter" in values:
        values["dead_letter"] = DeadLetter(**_without_place(values["dead_letter"]))
    return Queue(name, **{**values, "bindings": _bindings(values)})


def _exchange(name: str, values: Values) -> Exchange:
    return Exchange(name, **{**values, "bindings": _bindings(values)})


def _pool(name: str, values: Values) -> Pool:
    queues = values["queues"]
    if isinstance(queues, list):
        weights = dict.fromkeys(queues, 1)
        order = values.get("order", "fair")
    else:
        weights = queues
        order = values.get("order", "weighted")
    return Pool(name, **{**values, "queues": weights, "order": order})


def _bindings(values: Values) -> tuple[Binding, ...]:
    return tuple(Binding(**item) for item in values.get("bindings") or ())


def _retry(values: Values) -> RetryPolicy:
    delays = tuple(values.get("delays") or ())
    chosen = _without_place(values)
    chosen["delays"] = delays
    if "backoff" in values:
        chosen["backoff"] = _backoff(values["backoff"])
    # a list of delays says how many retries it is meant for
    chosen.setdefault("max_retries", len(delays) or RetryPolicy().max_retries)
    return RetryPolicy(**chosen)


def _backoff(values: Values) -> Backoff:
    default = Backoff()
    return Backoff(
        initial=values.get("initial", default.initial),
        factor=values.get("factor", default.factor),
        maximum=values.get("max", default.maximum),
    )


def _without_place(values: Values) -> Values:
    return {key: value for key, value in values.items() if key != "where"}
