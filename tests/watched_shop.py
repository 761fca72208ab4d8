"""A shop whose workers and tasks the monitor shows, for tests: in this process, and as a program of its own."""

from __future__ import annotations

import os
from typing import Any

from amqtask import Amqtask, Queue


def make_shop(url: str, **settings: Any) -> Amqtask:
    """An app with tasks that succeed and fail, and a periodic one."""
    app = Amqtask(
        "shop",
        broker=url,
        result_backend="rpc://",
        task_queues=[Queue("work", type="classic"), Queue("more", type="classic")],
        task_default_queue="work",
        worker_send_task_events=True,
        worker_heartbeat_interval=0.2,
        beat_schedule={"nightly": {"task": "add", "schedule": 86_400, "args": (1, 2)}},
        **settings,
    )

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="<script>alert(1)</script>")
    def fail() -> None:
        raise ValueError("<b>no</b>")

    return app


if url := os.environ.get("WATCHED_SHOP"):
    app = make_shop(url)
