"""Time limits in workers of every pool without children: the task ends, its message is dead-lettered, others run."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.rabbitmq

POOLS = ["threads", "asyncio", "gevent", "solo"]
ROUTING = f"""\
version: 1
defaults:
  queue: {{type: classic}}
queues: {{{", ".join(f"{pool}: {{}}" for pool in POOLS)}}}
routes:
  - {{task: "*", queue: threads}}
"""


def test_a_task_beyond_its_hard_limit_is_dead_lettered_once_and_others_run(site):
    site.route(ROUTING)
    workers = [
        site.worker("-P", pool, "-Q", pool, "-n", f"{pool}@here", ready=False, task_time_limit=0.4) for pool in POOLS
    ]
    for pool in POOLS:
        site.send("compute", pool, queue=pool)
    for pool in POOLS:
        (dead,) = site.wait_dead(1, pool)
        assert dead.reason == "time_limit"
        site.send("note", f"after {pool}", queue=pool)
    site.wait_done(*(f"after {pool}" for pool in POOLS))
    assert [worker.stop() for worker in workers] == [0] * len(POOLS)
    assert site.labels("start") == dict.fromkeys(POOLS, 1)
    assert {pool: (site.ready(pool), len(site.dead(pool))) for pool in POOLS} == dict.fromkeys(POOLS, (0, 1))


def test_a_thread_that_blocks_beyond_its_limit_has_the_process_replaced_without_a_gap(site):
    worker = site.worker("-P", "threads", "-c", "1", "-Q", "work", task_time_limit=0.4, worker_shutdown_timeout=1)
    site.send("pause", "sleeps", 600)
    site.wait_event("start", "sleeps")
    assert site.wait_dead(1)[0].reason == "time_limit"
    site.send("note", "after")
    site.wait_done("after")
    worker.wait_for_log(r"amqtask@\S+ stopped: 2 received")
    site.send("note", "later")
    site.wait_done("later")
    assert site.events("done", "later")[0].pid != worker.pid
    assert site.labels("start")["sleeps"] == 1
    assert worker.stop() == 0
