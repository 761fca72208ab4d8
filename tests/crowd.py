"""What tests of the prefork pool look at: its children, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.pools.prefork.pool import PreforkPool

if TYPE_CHECKING:
    from pool_host import Bench


def pool_of(bench: Bench) -> PreforkPool:
    assert isinstance(bench.pool, PreforkPool)
    return bench.pool


def pids(bench: Bench) -> list[int]:
    """Processes of the children, once all of them are up."""
    slots = pool_of(bench)._slots
    bench.wait(lambda: all(slot.pid and slot.ready for slot in list(slots)))
    return [slot.pid for slot in list(slots)]


def server_pid(bench: Bench) -> int:
    return pool_of(bench)._server.pid


def take_all_for_short(bench: Bench) -> None:
    """Let the pool put jobs behind others as if all of them were of short tasks."""
    pool_of(bench)._dispatch.run_times.is_short = lambda _name: True  # type: ignore[method-assign]


def behind_each_other(bench: Bench, *jobs) -> None:
    """Give these jobs to the only child, all at once."""
    pool = pool_of(bench)
    take_all_for_short(bench)

    def give() -> None:
        for job in jobs:
            pool.submit(job)
        pool.flush()

    bench.on_loop(give)
