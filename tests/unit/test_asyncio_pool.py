"""What only the asyncio pool has to bear: all its tasks share one event loop."""

from __future__ import annotations

import asyncio

from pool_app import make_app
from pool_host import Bench, job_for

from amqtask.execution.job import Kind


def test_tasks_that_user_code_cancels_before_they_have_begun_run_all_the_same():
    app = make_app()

    @app.task(name="cancel_others")
    async def cancel_others() -> int:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        return sum(task.cancel() for task in others)

    with Bench(app, "asyncio", 8) as bench:
        jobs = [job_for(0, "cancel_others"), *(job_for(key, "aadd", key, 1) for key in range(1, 8))]
        canceller, *others = bench.run(*jobs)
    assert canceller.text == "7"
    assert [(outcome.kind, outcome.text) for outcome in others] == [(Kind.SUCCESS, str(key + 1)) for key in range(1, 8)]
