"""The topology that the settings name. Relative paths are seen from the current folder, then from the app's module.

Owns that rule, and what the settings say of queues in code.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError
from amqtask.topology.celery_routes import read_queues
from amqtask.topology.declarations import Exchange, Queue
from amqtask.topology.model import Topology, opened

if TYPE_CHECKING:
    from amqtask.config.settings import Settings


def find_routing(path: str, home: Path | None) -> Path:
    """The file that the setting ``routing`` names.

    Args:
        path: as set; ``~`` is understood.
        home: folder of the module that made the app, if it has one.

    Raises:
        ConfigError: there is no such file; says where it was looked for.
    """
    given = Path(path).expanduser()
    places = [Path.cwd() / given]  # an absolute path stays as it is
    if home is not None and not given.is_absolute():
        places.append(home / given)
    for place in places:
        if place.is_file():  # named in messages: as short as it can be found from here
            return place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
    looked = " and ".join(dict.fromkeys(str(place) for place in places))
    raise ConfigError(f"setting routing: no file {path!r} (looked for {looked})")


def load_topology(settings: Settings, home: Path | None) -> Topology:
    """The topology: from routing.yaml, or from code, or one default queue.

    Raises:
        ConfigError: routing.yaml is missing, or given beside ``task_queues`` or ``task_routes``.
        DocumentError: routing.yaml has errors; lists them all.
    """
    celery = settings.interop == "celery"
    any_queue = celery if settings.task_create_missing_queues is None else settings.task_create_missing_queues
    if settings.routing is not None:
        if settings.task_queues or settings.task_routes:
            raise ConfigError("give either routing or task_queues and task_routes: there is one topology")
        from amqtask.topology.document import load  # noqa: PLC0415 -- loads yaml

        topology = load(find_routing(settings.routing, home), settings.task_default_queue, celery=celery)
        return replace(topology, open=any_queue)
    like = _like(settings)
    topology = Topology.from_code(
        [_fit(queue, like) for queue in read_queues(settings.task_queues)],
        settings.task_routes,
        default_queue=_default_queue(settings, like),
    )
    topology = opened(topology, like) if celery else replace(topology, like=like)
    return replace(topology, open=any_queue)


def _like(settings: Settings) -> Queue:
    """What queues in code are like that say nothing about themselves."""
    kind, highest = settings.task_default_queue_type, settings.task_queue_max_priority
    if settings.interop == "celery":  # declared by its arguments alone, as Celery does
        return Queue("", max_priority=highest, arguments={"x-queue-type": kind} if kind == "quorum" else {})
    return Queue("", type=kind, max_priority=highest)


def _fit(queue: Queue, like: Queue) -> Queue:
    typed = queue.type is not None or "x-queue-type" in queue.arguments
    arguments = queue.arguments if typed else {**like.arguments, **queue.arguments}
    ranked = queue.max_priority if queue.max_priority is not None else like.max_priority
    return replace(queue, type=queue.type if typed else like.type, arguments=arguments, max_priority=ranked)


def _default_queue(settings: Settings, like: Queue) -> Queue:
    queue = replace(like, name=settings.task_default_queue)
    if settings.task_default_exchange is None:
        return queue
    exchange = Exchange(settings.task_default_exchange, settings.task_default_exchange_type)
    return replace(queue, exchange=exchange, routing_key=settings.task_default_routing_key or queue.name)
