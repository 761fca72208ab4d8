"""What is wrong, or doubtful, in a topology: errors can't work, warnings can but probably are not meant.

Owns the rules across objects; :mod:`amqtask.topology.arguments` owns those of raw arguments, and
:mod:`amqtask.topology.route_checks` those of routes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from amqtask.errors import Problem
from amqtask.plugins import did_you_mean
from amqtask.topology.arguments import argument_errors, argument_warnings
from amqtask.topology.declarations import DEFAULT_EXCHANGE, Queue
from amqtask.topology.delays import (
    DEAD_SUFFIX,
    KEY_WORD,
    LADDER_PREFIX,
    LONGEST,
    dead_name,
    exact_delays,
    retry_name,
)
from amqtask.topology.layout import queue_type
from amqtask.topology.route_checks import route_errors, route_warnings
from amqtask.topology.router import BUILTIN_EXCHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.topology.declarations import Binding, Exchange, Version
    from amqtask.topology.model import Topology

_OWN_PREFIX = "amqtask."
"""Of replies, chords, limits, the scheduler's log and so on; see docs/reference/broker.md."""
_LONGEST_NAME = 255
_MOST_HASHES = 2
"""Words ``#`` that a topic binding key may have on RabbitMQ 4.3."""


def check(topology: Topology, version: Version | None = None) -> list[Problem]:
    """Errors: what can't work.

    Args:
        topology: to judge.
        version: of the broker; None names only what fails on every version.
    """
    found = [
        *_name_errors(topology),
        *_reference_errors(topology),
        *_key_errors(topology, version),
        *_queue_errors(topology, version),
        *route_errors(topology),
    ]
    return _in_order(found)


def warnings(topology: Topology, version: Version | None = None) -> list[Problem]:
    """Warnings: what works, but hardly as meant.

    Args:
        topology: without errors.
        version: of the broker; None leaves out what depends on it.
    """
    found = [
        *_name_warnings(topology),
        *_use_warnings(topology),
        *_queue_warnings(topology, version),
        *_pool_warnings(topology),
        *route_warnings(topology, version),
    ]
    return _in_order(found)


def place(topology: Topology, kind: str, name: str, where: str) -> str:
    """The place of an object for a message; objects made in code are named instead."""
    return where or topology.source or f"{kind} {name!r}"


def _in_order(found: list[Problem]) -> list[Problem]:
    """By line and column, for those that have one; each once."""

    def key(problem: Problem) -> tuple[str, int, int]:
        name, _, rest = problem.where.partition(":")
        parts = problem.where.rsplit(":", 2)
        if rest and len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():  # noqa: PLR2004
            return parts[0], int(parts[1]), int(parts[2])
        return name, 0, 0

    return sorted(dict.fromkeys(found), key=key)


def _name_errors(topology: Topology) -> Iterator[Problem]:
    for exchange in topology.exchanges.values():
        where = place(topology, "exchange", exchange.name, exchange.where)
        if exchange.name.startswith(LADDER_PREFIX):
            yield Problem(where, f"exchange names starting with {LADDER_PREFIX!r} are reserved for delays")
        elif exchange.name.startswith("amq.") and exchange.name not in BUILTIN_EXCHANGES:
            yield Problem(where, "exchange names starting with 'amq.' are reserved by RabbitMQ")
        elif BUILTIN_EXCHANGES.get(exchange.name, exchange.type) != exchange.type:
            kind = BUILTIN_EXCHANGES[exchange.name]
            yield Problem(where, f"{exchange.name} exists on every RabbitMQ, with type {kind}")
        elif not exchange.name:
            yield Problem(where, "the default exchange, named '', can't be declared")
    derived = _derived_names(topology)
    for queue in topology.queues.values():
        where = place(topology, "queue", queue.name, queue.where)
        for text in _queue_name_errors(queue.name, derived):
            yield Problem(where, text)


def _queue_name_errors(name: str, derived: dict[str, str]) -> Iterator[str]:
    if not name:
        yield "a queue needs a name"
    if name.startswith("amq."):
        yield "queue names starting with 'amq.' are reserved by RabbitMQ"
    if name.startswith((LADDER_PREFIX, KEY_WORD + ".")) or name == KEY_WORD:
        yield f"queue names starting with {LADDER_PREFIX!r} or {KEY_WORD + '.'!r} are reserved for delays"
    if name in derived:
        yield f"the name is taken: {derived[name]}"
    if len(dead_name(name).encode()) + len(".retry.1000000000000") - len(DEAD_SUFFIX) > _LONGEST_NAME:
        yield "the name is too long; with the suffixes of its retry queues it must stay under 255 bytes"


def _derived_names(topology: Topology) -> dict[str, str]:
    names = {}
    for queue in topology.queues.values():
        names[dead_name(queue.name)] = f"amqtask keeps the failed messages of {queue.name!r} there"
        for delay in exact_delays(queue):
            names[retry_name(queue.name, delay)] = f"retries of {queue.name!r} wait there"
    return names


def _reference_errors(topology: Topology) -> Iterator[Problem]:
    for queue in topology.queues.values():
        for binding in queue.bindings:
            yield from _binding_errors(topology, f"queue {queue.name!r}", binding, queue.where)
    for exchange in topology.exchanges.values():
        for binding in exchange.bindings:
            yield from _binding_errors(topology, f"exchange {exchange.name!r}", binding, exchange.where)
        alternate = exchange.alternate
        if alternate is not None and not _exists(topology, alternate):
            where = place(topology, "exchange", exchange.name, exchange.where)
            yield Problem(where, f"alternate {_unknown_exchange(topology, alternate)}")
    for pool in topology.pools.values():
        for name in pool.queues:
            if name not in topology.queues and not topology.open:
                near = did_you_mean(name, topology.queues)
                yield Problem(
                    place(topology, "pool", pool.name, pool.where),
                    f"pool {pool.name!r} works on the queue {name!r}, which is not declared{near}",
                )


def _binding_errors(topology: Topology, owner: str, binding: Binding, where: str) -> Iterator[Problem]:
    at = binding.where or where or owner
    if binding.exchange == DEFAULT_EXCHANGE:
        yield Problem(at, "nothing can be bound to the default exchange; every queue gets what is sent to its name")
    elif not _exists(topology, binding.exchange):
        yield Problem(at, f"{owner} is bound to {_unknown_exchange(topology, binding.exchange)}")
    else:
        declared = topology.exchanges.get(binding.exchange)
        if declared is not None and declared.type == "x-consistent-hash" and not binding.routing_key.isdecimal():
            yield Problem(
                at,
                f"{binding.exchange!r} is an x-consistent-hash exchange: its routing_key is a weight, "
                f'for example "10"; got {binding.routing_key!r}',
            )


def _key_errors(topology: Topology, version: Version | None) -> Iterator[Problem]:
    if version is None or not version.at_least(4, 3):
        return
    owners: list[Queue | Exchange] = [*topology.queues.values(), *topology.exchanges.values()]
    for owner in owners:
        for binding in owner.bindings:
            exchange = topology.exchanges.get(binding.exchange)
            kind = exchange.type if exchange is not None else BUILTIN_EXCHANGES.get(binding.exchange)
            if kind == "topic" and binding.routing_key.split(".").count("#") > _MOST_HASHES:
                yield Problem(
                    binding.where or owner.where or repr(owner.name),
                    f"{version} refuses the binding key {binding.routing_key!r}: more than {_MOST_HASHES} words '#'",
                )


def _exists(topology: Topology, exchange: str) -> bool:
    return exchange in topology.exchanges or exchange in BUILTIN_EXCHANGES


def _unknown_exchange(topology: Topology, name: str) -> str:
    return f"the exchange {name!r}, which is not declared{did_you_mean(name, topology.exchanges)}"


def _queue_errors(topology: Topology, version: Version | None) -> Iterator[Problem]:
    for queue in topology.queues.values():
        where = place(topology, "queue", queue.name, queue.where)
        for text in _one_queue_errors(queue, version):
            yield Problem(where, f"queue {queue.name!r}: {text}")


def _one_queue_errors(queue: Queue, version: Version | None) -> Iterator[str]:
    kind = queue_type(queue, version)
    yield from argument_errors(queue, kind, version)
    if queue.type == "stream":
        yield "a stream can't hold tasks: it keeps what is acknowledged; use quorum or classic"
    if queue.max_priority is not None:
        if not 0 <= queue.max_priority <= 9:  # noqa: PLR2004 -- priorities are 0..9 everywhere
            yield f"max_priority is {queue.max_priority}; write 0 to 9, 9 first"
        if kind == "quorum" and version is not None and not version.at_least(4, 0):
            yield f"{version} does not rank priorities in quorum queues; leave the type out, or write classic"
    if queue.expires == timedelta(0):
        yield "expires must be longer than 0"
    if queue.retry is not None and any(delay > LONGEST for delay in queue.retry.delays):
        yield f"a retry delay is longer than {LONGEST.days} days"
    if not queue.durable and kind == "quorum":
        yield "a quorum queue is always durable"


def _name_warnings(topology: Topology) -> Iterator[Problem]:
    for kind, owned in (("exchange", topology.exchanges), ("queue", topology.queues)):
        for one in owned.values():
            if one.name.startswith(_OWN_PREFIX) and one.name != topology.default_queue.name:
                yield Problem(
                    place(topology, kind, one.name, one.where),
                    f"{kind} {one.name!r}: names starting with {_OWN_PREFIX!r} are for what amqtask makes by itself",
                )


def _use_warnings(topology: Topology) -> Iterator[Problem]:
    named = {route.queue for route in topology.routes}
    named.update(name for pool in topology.pools.values() for name in pool.queues)
    pooled = {name for pool in topology.pools.values() for name in pool.queues}
    for queue in topology.queues.values():
        where = place(topology, "queue", queue.name, queue.where)
        default = queue.name == topology.default_queue.name
        if not queue.bindings and queue.name not in named and not default:
            yield Problem(
                where,
                f"nothing leads to queue {queue.name!r}: no binding, no route and no pool names it, "
                "so only tasks sent to it by name arrive",
            )
        if topology.pools and queue.name not in pooled:
            why = ": tasks that no route matches would wait there" if default and not queue.where else ""
            kind = "the default queue" if default else "queue"
            yield Problem(where, f"{kind} {queue.name!r} is in no pool{why}")


def _queue_warnings(topology: Topology, version: Version | None) -> Iterator[Problem]:
    for queue in topology.queues.values():
        where = place(topology, "queue", queue.name, queue.where)
        for text in _one_queue_warnings(queue, version):
            yield Problem(where, f"queue {queue.name!r}: {text}")


def _one_queue_warnings(queue: Queue, version: Version | None) -> Iterator[str]:
    kind = queue_type(queue, version)
    yield from argument_warnings(queue, kind, version)
    limited = queue.max_length is not None or queue.max_length_bytes is not None
    if queue.overflow == "drop-head" and kind == "quorum" and limited:
        yield "with overflow: drop-head the broker dead-letters at most once: a crash loses messages"
    if version is None:
        return
    if queue.consumer_timeout is not None and (kind != "quorum" or not version.at_least(4, 3)):
        yield f"consumer_timeout has no effect on a {kind} queue of {version}: the broker's own setting rules"
    if queue.max_priority is not None and kind == "quorum" and not version.at_least(4, 3):
        yield f"{version} knows two priorities in quorum queues: 0 to 4, and 5 to 9"


def _pool_warnings(topology: Topology) -> Iterator[Problem]:
    for pool in topology.pools.values():
        if pool.order == "strict" and len(set(pool.queues.values())) > 1:
            yield Problem(
                place(topology, "pool", pool.name, pool.where),
                f"pool {pool.name!r}: order: strict uses the order of the queues, not their weights",
            )
