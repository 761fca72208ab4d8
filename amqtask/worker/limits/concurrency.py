"""How many of each task run at once. Owns which delivery counts for which permits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.tasks.limits import LIMIT_KEY
from amqtask.worker.limits.layout import permit_layout
from amqtask.worker.limits.permits import Permits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from amqtask.tasks.limits import Limit
    from amqtask.tasks.task import Task
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.limits.wiring import LimitHost

_KEYS_MAX = 1000
"""Keys of which a worker keeps the permits' channel when nothing of them is here any more; beyond, idle ones go."""


class ConcurrencyLimits:
    """Lives on the I/O thread.

    Args:
        tasks: of the app.
        host: the worker.
    """

    def __init__(self, tasks: Mapping[str, Task[..., Any]], host: LimitHost) -> None:
        self._host = host
        self._limits: dict[str, Limit] = {
            name: task.options.max_concurrency
            for name, task in tasks.items()
            if task.options.max_concurrency is not None
        }
        self._permits: dict[tuple[str, str | None], Permits] = {}

    def __bool__(self) -> bool:
        return bool(self._limits)

    def of(self, delivery: Delivery) -> Permits | None:
        """The permits a delivery needs one of. One without a key, of another client, counts for the empty one."""
        name = delivery.name
        limit = None if name is None else self._limits.get(name)
        if name is None or limit is None:
            return None
        key = None
        if limit.key is not None:
            said = (delivery.properties.headers or {}).get(LIMIT_KEY)
            key = said if isinstance(said, str) else ""
        permits = self._permits.get((name, key))
        return permits if permits is not None else self._made(name, key, limit)

    def _made(self, name: str, key: str | None, limit: Limit) -> Permits:
        if len(self._permits) >= _KEYS_MAX:
            for idle in [place for place, permits in self._permits.items() if permits.idle]:
                self._permits.pop(idle).close()
        host = self._host
        permits = self._permits[name, key] = Permits(host.loop, limit, host.readmit, host.slots)
        host.provide(permits, permit_layout(name, key, limit))
        return permits

    def __iter__(self) -> Iterator[Permits]:
        return iter(self._permits.values())

    def describe(self, task: str) -> dict[str, object]:
        """What holds for a task; empty when nothing does."""
        limit = self._limits.get(task)
        if limit is None:
            return {}
        if limit.key is None:
            permits = self._permits.get((task, None))
            return {"max_concurrency": limit.value} if permits is None else permits.describe()
        keys = {key or "": each.describe() for (name, key), each in self._permits.items() if name == task}
        return {"max_concurrency": limit.value, "keys": keys}
