"""Declarations as Celery users write them in code: ``task_queues`` and ``task_routes``.

Owns the reading of those shapes into Queue and Route values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from amqtask.errors import TopologyError
from amqtask.plugins import did_you_mean
from amqtask.topology.declarations import Exchange, Queue, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUTE_KEYS = ("queue", "exchange", "routing_key", "priority")
_QUEUE_KEYS = ("exchange", "exchange_type", "routing_key", "binding_key")
_INLINE_FLAGS = re.compile(r"^\(\?[aiLmsux]+\)")
_FLAG_LETTERS = (
    (re.ASCII, "a"),
    (re.IGNORECASE, "i"),
    (re.MULTILINE, "m"),
    (re.DOTALL, "s"),
    (re.VERBOSE, "x"),
)
_EXAMPLE = "write for example {'shop.mail.*': {'queue': 'emails'}}"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=_Named)


def by_name(kind: str, values: Iterable[_T]) -> dict[str, _T]:
    """The values by their name, in order.

    Raises:
        TopologyError: two different values have one name.
    """
    found: dict[str, _T] = {}
    for value in values:
        if found.setdefault(value.name, value) != value:
            raise TopologyError(f"{kind} {value.name!r} is declared twice, with different properties")
    return found


def read_queues(value: Iterable[object] | Mapping[str, object]) -> list[Queue]:
    """Queue values from a list of them, of names, or from Celery's mapping of name -> options.

    Raises:
        TopologyError: for anything else.
    """
    if isinstance(value, Mapping):
        return [_mapped_queue(str(name), options) for name, options in value.items()]
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TopologyError(f"task_queues: expected a list of Queue values, got {value!r}")
    queues = []
    for item in value:
        if isinstance(item, str):
            queues.append(Queue(item))
        elif isinstance(item, Queue):
            queues.append(item)
        elif hasattr(item, "queue_arguments"):
            queues.append(_kombus_queue(item))
        else:
            raise TopologyError(f"task_queues: expected a Queue, got {item!r}; from amqtask import Queue")
    return queues


def _kombus_queue(item: Any) -> Queue:
    """A queue of kombu's, known by its attributes."""
    exchange = getattr(item, "exchange", None)
    named = getattr(exchange, "name", "")
    return Queue(
        item.name,
        Exchange(named, getattr(exchange, "type", "direct")) if named else None,
        item.routing_key or None,
        max_priority=item.max_priority,
        arguments=dict(item.queue_arguments or {}),
    )


def read_routes(value: object) -> Iterator[Route]:
    """Routes from any of the shapes that :meth:`Topology.from_code` lists.

    Raises:
        TopologyError: for anything else.
    """
    if value is None:
        return
    if isinstance(value, Route):
        yield value
    elif isinstance(value, Mapping):
        for pattern, target in value.items():
            yield _route(pattern, target)
    elif isinstance(value, list | tuple) and _is_pair(value):
        yield _route(value[0], value[1])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from read_routes(item)
    else:
        hint = "; router functions are not supported, routes must be data" if callable(value) else ""
        raise TopologyError(f"task_routes: expected routes, got {value!r}{hint}; {_EXAMPLE}")


def _is_pair(value: list[object] | tuple[object, ...]) -> bool:
    """``("shop.*", {…})`` and ``("shop.*", "emails")``, but not two routes in a tuple."""
    return (
        len(value) == 2  # noqa: PLR2004 -- a pair
        and isinstance(value[0], str | re.Pattern)
        and isinstance(value[1], str | Mapping | Queue)
    )


def _route(pattern: object, target: object) -> Route:
    task = _pattern(pattern)
    if isinstance(target, Queue):
        target = target.name
    if isinstance(target, str):
        return Route(task, queue=target, where=_where(task))
    if not isinstance(target, Mapping):
        raise TopologyError(f"task_routes: {task!r} leads to {target!r}; {_EXAMPLE}")
    options = dict(target)
    for key in options:
        if key not in _ROUTE_KEYS:
            known = did_you_mean(str(key), _ROUTE_KEYS)
            raise TopologyError(f"task_routes: {task!r} has the unknown option {key!r}{known}")
    queue, exchange = _name(options.get("queue")), _name(options.get("exchange"))
    priority = options.get("priority")
    if priority is not None and (not isinstance(priority, int) or isinstance(priority, bool)):
        raise TopologyError(f"task_routes: the priority of {task!r} is {priority!r}; write 0 to 9, 9 first")
    if queue is not None:
        return Route(task, queue=queue, priority=priority, where=_where(task))
    if exchange is None:
        raise TopologyError(f"task_routes: {task!r} needs a queue, or an exchange with a routing_key; {_EXAMPLE}")
    key = str(options.get("routing_key") or "")
    return Route(task, exchange=exchange, routing_key=key, priority=priority, where=_where(task))


def _pattern(pattern: object) -> str:
    if isinstance(pattern, str):
        return pattern
    if not isinstance(pattern, re.Pattern) or not isinstance(pattern.pattern, str):
        raise TopologyError(f"task_routes: expected a task name, glob or pattern, got {pattern!r}; {_EXAMPLE}")
    flags = "".join(letter for flag, letter in _FLAG_LETTERS if pattern.flags & flag)
    # Celery matches compiled patterns from the start of the name; ours match anywhere
    body = _INLINE_FLAGS.sub("", pattern.pattern)
    if "x" in flags:
        body += "\n"  # ends a comment in the last line, before the bracket
    head = f"(?{flags})" if flags else ""
    return f"/{head}\\A(?:{body})/"


def _mapped_queue(name: str, options: object) -> Queue:
    if options is None:
        return Queue(name)
    if not isinstance(options, Mapping):
        raise TopologyError(f"task_queues: the options of {name!r} are {options!r}, expected a mapping")
    for key in options:
        if key not in _QUEUE_KEYS:
            known = did_you_mean(str(key), _QUEUE_KEYS)
            raise TopologyError(f"task_queues: queue {name!r} has the unknown option {key!r}{known}")
    exchange = options.get("exchange")
    if isinstance(exchange, str):
        exchange = Exchange(exchange, options.get("exchange_type", "direct"))
    key = options.get("routing_key", options.get("binding_key"))
    return Queue(name, exchange, key)


def _name(value: Any) -> str | None:
    name = getattr(value, "name", value)
    return None if name is None else str(name)


def _where(task: str) -> str:
    return f"task_routes[{task!r}]"
