"""What a worker says about itself when it starts. Owns the text; decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.worker.options import WorkerOptions


def banner(
    options: WorkerOptions,
    *,
    app: str,
    version: str,
    broker: Iterable[str],
    results: str | None,
    tasks: Iterable[str],
) -> str:
    """The start-up banner.

    Args:
        options: of this worker.
        app: the app's name.
        version: of amqtask.
        broker: URLs without passwords.
        results: URL of the result backend, without a password; None when results are not kept.
        tasks: names of the registered tasks.
    """
    width = max(len(name) for name, _ in options.queues)
    weighted = options.order == "weighted"
    queues = [
        f"    {name:<{width}}  {f'weight {weight}' if weighted else ''}".rstrip() for name, weight in options.queues
    ]
    names = sorted(tasks)
    pool = f"  ({options.pool_name})" if options.pool_name else ""
    lines = [
        f" amqtask {version}  {options.hostname}{pool}",
        f"  app          {app}",
        f"  broker       {', '.join(broker)}",
        f"  results      {results or 'not kept'}",
        f"  pool         {options.pool}, concurrency {options.concurrency}",
        f"  prefetch     {options.prefetch or 'as each queue says'}",
        f"  queues       in {options.order} order",
        *queues,
        f"  tasks        {len(names)}",
        *(f"    {name}" for name in names),
    ]
    return "\n".join(lines)
