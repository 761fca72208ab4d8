"""Rules for routes: names that do not exist, routes that never match, routes that lead nowhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amqtask.errors import Problem
from amqtask.plugins import did_you_mean
from amqtask.topology.layout import NATIVE_PRIORITIES
from amqtask.topology.matching import catches_all, name_matcher, pattern_kind
from amqtask.topology.router import BUILTIN_EXCHANGES, Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.topology.declarations import Route, Version
    from amqtask.topology.model import Topology


def route_errors(topology: Topology) -> Iterator[Problem]:
    """Routes that can't work."""
    broken = False
    for route in topology.routes:
        for text in _route_errors(topology, route):
            yield Problem(_place(route), text)
        if text := _broken_regex(route):
            broken = True
            yield Problem(_place(route), text)
    if broken:
        return
    router = Router(topology)
    for route in topology.routes:
        if route.exchange in topology.exchanges and not _reaches(topology, router, route):
            yield Problem(
                _place(route),
                f"no queue receives what exchange {route.exchange!r} gets with the routing key "
                f"{route.routing_key or ''!r}; bind a queue, or send to a queue by its name",
            )


def route_warnings(topology: Topology, version: Version | None) -> Iterator[Problem]:
    """Routes that are never used, and priorities that are not heeded."""
    for index, route in enumerate(topology.routes):
        earlier = next((known for known in topology.routes[:index] if covers(known.task, route.task)), None)
        if earlier is not None:
            yield Problem(
                _place(route),
                f"the route for {route.task!r} is never used: {earlier.task!r} ({_place(earlier)}) matches first",
            )
    if version is None or version.at_least(*NATIVE_PRIORITIES):
        return
    router = Router(topology)
    for route in topology.routes:
        if route.priority is None:
            continue
        for name in _queues_of(router, route):
            if topology.queue(name).max_priority is None:
                yield Problem(
                    _place(route),
                    f"priority {route.priority} has no effect on {version}: queue {name!r} has no max_priority",
                )


def covers(first: str, second: str) -> bool:
    """Does the pattern ``first`` match every name that ``second`` matches? False when that is not certain."""
    if first == second or catches_all(first):
        return True
    kinds = pattern_kind(first), pattern_kind(second)
    if kinds[1] == "exact":
        return name_matcher(first)(second)
    if kinds == ("glob", "glob") and not re.search(r"[?\[]", first):
        # a * of the first takes whatever the wildcards of the second stand for; its plain text can't
        return name_matcher(first)(second)
    return False


def _route_errors(topology: Topology, route: Route) -> Iterator[str]:
    if (route.queue is None) == (route.exchange is None):
        yield f"the route for {route.task!r} needs either a queue or an exchange"
    if route.queue is not None and route.queue not in topology.queues and not topology.open:
        near = did_you_mean(route.queue, topology.queues)
        yield f"the route for {route.task!r} leads to the queue {route.queue!r}, which is not declared{near}"
    exchange = route.exchange
    if exchange and exchange not in topology.exchanges and exchange not in BUILTIN_EXCHANGES:
        near = did_you_mean(exchange, topology.exchanges)
        yield f"the route for {route.task!r} leads to the exchange {exchange!r}, which is not declared{near}"
    elif exchange and exchange in topology.exchanges and topology.exchanges[exchange].internal:
        yield f"the exchange {exchange!r} is internal: only exchanges can publish to it"
    if route.priority is not None and not 0 <= route.priority <= 9:  # noqa: PLR2004 -- 0..9 everywhere
        yield f"priority is {route.priority}; write 0 to 9, 9 first"


def _broken_regex(route: Route) -> str:
    try:
        name_matcher(route.task)
    except re.error as error:
        return f"the regex {route.task} is broken: {error}"
    return ""


def _reaches(topology: Topology, router: Router, route: Route) -> bool:
    """Headers decide per message, so beside exchanges of that type nothing is certain."""
    if any(exchange.type == "headers" for exchange in topology.exchanges.values()):
        return True
    return bool(_queues_of(router, route))


def _queues_of(router: Router, route: Route) -> list[str]:
    if route.queue is not None:
        return router.queues_for("", route.queue)
    return router.queues_for(route.exchange or "", route.routing_key or "")


def _place(route: Route) -> str:
    return route.where or f"route {route.task!r}"
