"""The topology as one immutable value: exchanges, queues, routes and pools.

Owns the whole and look-up in it. It comes from a file (:mod:`amqtask.topology.document`), from code, or is
the
default: one queue on the default exchange.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from amqtask.errors import TopologyError
from amqtask.plugins import did_you_mean
from amqtask.topology.celery_routes import by_name, read_queues, read_routes
from amqtask.topology.declarations import Exchange, Pool, Queue, Route
from amqtask.topology.matching import catches_all
from amqtask.topology.plain import made_plain, plain_queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_QUEUE = "amqtask"


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything that is declared; mappings are by name, in the order of declaration.

    Attributes:
        default_queue: where tasks go that no route matches. It is one of ``queues``, unless a route matches
            every name.
        source: the file it was read from, for messages.
        open: a queue of any other name is one, too; in a Celery deployment a plain one of Celery's.
        like: what such a queue is like, but for its name.
        schedule: periodic tasks, in the words of ``beat_schedule``, and ``where``.
    """

    exchanges: Mapping[str, Exchange]
    queues: Mapping[str, Queue]
    routes: tuple[Route, ...]
    pools: Mapping[str, Pool]
    default_queue: Queue
    source: str = field(default="", compare=False)
    open: bool = False
    like: Queue = field(default=Queue(""), compare=False)
    schedule: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def queue(self, name: str) -> Queue:
        """The queue of this name.

        Raises:
            TopologyError: it is not declared, and the topology is not open; names the nearest.
        """
        queue = self.queues.get(name)
        if queue is None and self.open:
            return made_plain(replace(self.like, name=name)) if self.like.plain else replace(self.like, name=name)
        if queue is None:
            raise TopologyError(self._unknown("queue", name, self.queues))
        return queue

    def has_exit(self, name: str) -> bool:
        """Whether delayed messages reach the queue of this name by an exit of its own, see ``Queue.has_exit``."""
        return self.queues.get(name, self.like).has_exit

    def pool(self, name: str) -> Pool:
        """The worker pool of this name.

        Raises:
            TopologyError: it is not declared; names the nearest.
        """
        pool = self.pools.get(name)
        if pool is None:
            raise TopologyError(self._unknown("pool", name, self.pools))
        return pool

    def _unknown(self, kind: str, name: str, known: Mapping[str, object]) -> str:
        place = f"{self.source} has" if self.source else "there is"
        names = f"; there are {', '.join(known)}" if known else ""
        return f"{place} no {kind} {name!r}{did_you_mean(name, known) or names}"

    @classmethod
    def from_code(
        cls,
        queues: Iterable[Queue] | Mapping[str, object] = (),
        routes: object = (),
        exchanges: Iterable[Exchange] = (),
        pools: Iterable[Pool] = (),
        default_queue: str | Queue = DEFAULT_QUEUE,
    ) -> Topology:
        """A topology from values, or from Celery's ``task_queues`` and ``task_routes``.

        Args:
            queues: Queue values; ``Queue("a", Exchange("a"), routing_key="a")`` declares its exchange too. A
                mapping is read like Celery's: name -> ``{"exchange": …, "exchange_type": …, "routing_key": …}``.
            routes: Route values; a mapping of task name, glob, ``/regex/`` or compiled pattern to a queue's
                name or ``{"queue": …}`` or ``{"exchange": …, "routing_key": …}``, with ``priority`` if
                wanted; pairs of these; or a list of any of them. First match wins. With ``queue`` given, the
                task goes to this queue by name, and ``exchange`` and ``routing_key`` beside it say nothing
                new.
            exchanges: those that no queue brings along.
            pools: worker pools.
            default_queue: the queue for tasks that no route matches, or its name.

        Raises:
            TopologyError: a value of another shape, or two different objects of one name.
        """
        listed = read_queues(queues)
        default = Queue(default_queue) if isinstance(default_queue, str) else default_queue
        named = listed if any(queue.name == default.name for queue in listed) else [*listed, default]
        carried = [queue.exchange for queue in named if queue.exchange is not None and queue.exchange.name]
        return assemble(
            exchanges=by_name("exchange", [*exchanges, *carried]),
            queues=by_name("queue", listed),
            routes=tuple(read_routes(routes)),
            pools=by_name("pool", pools),
            default=default,
        )


def opened(topology: Topology, like: Queue | None = None) -> Topology:
    """The topology as part of a Celery deployment: what no file declares is declared as Celery does.

    Args:
        topology: as declared.
        like: what further queues are like, but for their names and for being plain.

    Queues of a file stay as they are; of those made in code only the ones that ask for a ``type`` or for retries do.
    """

    def fitted(queue: Queue) -> Queue:
        if topology.source:
            return queue if queue.where else plain_queue(queue.name)
        return queue if queue.type is not None or queue.retry is not None else made_plain(queue)

    queues = {name: fitted(queue) for name, queue in topology.queues.items()}
    default = queues.get(topology.default_queue.name) or fitted(topology.default_queue)
    exchanges = dict(topology.exchanges)
    for queue in queues.values():
        if queue.plain and queue.exchange is not None:
            exchanges.setdefault(queue.exchange.name, queue.exchange)
    return replace(
        topology,
        exchanges=MappingProxyType(exchanges),
        queues=MappingProxyType(queues),
        default_queue=default,
        open=True,
        like=replace(like or Queue(""), plain=True),
    )


def assemble(
    *,
    default: Queue,
    exchanges: Mapping[str, Exchange] | None = None,
    queues: Mapping[str, Queue] | None = None,
    routes: tuple[Route, ...] = (),
    pools: Mapping[str, Pool] | None = None,
    source: str = "",
) -> Topology:
    """Put the parts together, and the default queue to them, unless a route catches every task before it."""
    known = dict(queues or {})
    chosen = known.get(default.name, default)
    if not any(catches_all(route.task) for route in routes):
        known.setdefault(default.name, default)
    return Topology(
        exchanges=MappingProxyType(dict(exchanges or {})),
        queues=MappingProxyType(known),
        routes=routes,
        pools=MappingProxyType(dict(pools or {})),
        default_queue=chosen,
        source=source,
    )
