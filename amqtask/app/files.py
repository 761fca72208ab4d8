"""Where routing.yaml is: relative paths seen from the current folder, then from the app's module.

Owns that rule, and reading the topology that the settings name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError
from amqtask.topology.model import Topology, default_topology, opened

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
    in_code = bool(settings.task_queues) or bool(settings.task_routes)
    if settings.routing is not None:
        if in_code:
            raise ConfigError("give either routing or task_queues and task_routes: there is one topology")
        from amqtask.topology.document import load  # noqa: PLC0415 -- loads yaml

        return load(find_routing(settings.routing, home), settings.task_default_queue, celery=celery)
    if in_code:
        default = settings.task_default_queue
        topology = Topology.from_code(settings.task_queues, settings.task_routes, default_queue=default)
    else:
        topology = default_topology(settings.task_default_queue)
    return opened(topology) if celery else topology
