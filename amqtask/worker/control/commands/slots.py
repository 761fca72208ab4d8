"""Commands about the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.control.registry import control_command, inspect_command
from amqtask.worker.control import words
from amqtask.worker.control.dispatch import Refused
from amqtask.worker.control.panel import own

if TYPE_CHECKING:
    from amqtask.control.registry import Panel


@inspect_command()
def children(panel: Panel, **_: Any) -> dict[str, Any]:
    """Processes of the pool, and what each runs."""
    worker = panel.worker
    deliveries = {one.key: one for one in worker.custody.running}
    busy: dict[int, list[dict[str, Any]]] = {}
    for one in worker.pool.running():
        if (delivery := deliveries.get(one.key)) is not None:
            busy.setdefault(one.pid, []).append({"id": delivery.id, "name": delivery.name, "since": one.since})
    pids = worker.pool.info().get("processes") or sorted(busy)
    return {str(pid): busy.get(pid, []) for pid in pids}


@control_command(args=[("n", int)], signature="[N=1]")
def pool_grow(panel: Panel, n: Any = 1, **_: Any) -> dict[str, str]:
    """More slots."""
    _change(panel, "pool_grow", words.number(n, "pool_grow"))
    return {"ok": "pool will grow"}


@control_command(args=[("n", int)], signature="[N=1]")
def pool_shrink(panel: Panel, n: Any = 1, **_: Any) -> dict[str, str]:
    """Fewer slots; running tasks are not disturbed."""
    _change(panel, "pool_shrink", -words.number(n, "pool_shrink"))
    return {"ok": "pool will shrink"}


def _change(panel: Panel, name: str, slots: int) -> None:
    worker = panel.worker
    before = worker.pool.size
    if own(panel).scaling is not None:
        raise Refused(f"{name} is not supported with autoscale. Adjust autoscale range instead.")
    if slots > 0:
        worker.pool.grow(slots)
    elif slots < 0:
        worker.pool.shrink(-slots)
    if slots and worker.pool.size == before:
        raise Refused(f"{name}: this pool has {before} slot{'' if before == 1 else 's'}, and can't change that")
    worker.resized()


@control_command(args=[("max", int), ("min", int)], signature="[MAX [MIN]]")
def autoscale(panel: Panel, max: Any = None, min: Any = None, **_: Any) -> dict[str, str]:  # noqa: A002 -- Celery's
    """Change the bounds of a worker that was started with --autoscale."""
    scaling = own(panel).scaling
    if scaling is None:
        raise Refused("ValueError('Autoscale not enabled')")
    most = None if max is None else words.number(max, "max", least=1)
    fewest = None if min is None else words.number(min, "min")
    most, fewest = scaling.update(most, fewest)
    return {"ok": f"autoscale now max={most} min={fewest}"}
