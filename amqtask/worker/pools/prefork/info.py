"""What a prefork pool tells remote control: the words and shapes of Celery's. Owns nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.config.settings import Settings
    from amqtask.worker.pools.prefork.slot import Slot


def info(settings: Settings, size: int, slots: Sequence[Slot], *, fair: bool) -> dict[str, Any]:
    """See :meth:`amqtask.worker.pools.base.Pool.info`.

    Args:
        settings: of the app.
        size: children there are to be.
        slots: those there are.
        fair: no child ever gets a second job.
    """
    given = [slot.given for slot in slots]
    total = sum(given)
    shares = [f"{count / total:.2f}" for count in given] if total else []
    return {
        "implementation": "amqtask.worker.pools.prefork:PreforkPool",
        "max-concurrency": size,
        "processes": [slot.pid for slot in slots if slot.pid and slot.connected],
        "max-tasks-per-child": settings.worker_max_tasks_per_child or "N/A",
        "put-guarded-by-semaphore": False,
        "timeouts": [settings.task_soft_time_limit or 0, settings.task_time_limit or 0],
        "writes": {
            "total": total,
            "avg": f"{1 / len(given) if total else 0:.2f}",
            "all": ", ".join(shares),
            "raw": ", ".join(map(str, given)),
            "strategy": "fair" if fair else "short tasks share a child",
            "inqueues": {"total": len(slots), "active": sum(bool(slot.jobs) for slot in slots)},
        },
    }
