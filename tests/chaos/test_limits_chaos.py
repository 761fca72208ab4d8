"""Limits over all workers when workers die and connections go: nothing is lost, tokens least of all."""

from __future__ import annotations

import random

import pytest
from waiting import wait_for

pytestmark = pytest.mark.rabbitmq

APP = ("-A", "limits_app", "-P", "threads", "-c", "4")


def settled(site, task, end, count):
    """All tokens are there again, in one of the queues of the limit."""
    names = [f"amqtask.limit.{task}.{name}" for name in end]
    wait_for(lambda: sum(site.ready(name) for name in names) == count, timeout=20)


def test_workers_killed_at_any_moment_lose_no_token_and_no_task(site):
    chance = random.Random(5)
    settings = {"worker_lost_max_deliveries": 50}
    workers = [site.worker(*APP, "-n", f"w{number}", **settings) for number in range(2)]
    labels = [f"few-{number}" for number in range(30)]
    rated = [f"shared-{number}" for number in range(20)]
    for number, label in enumerate(labels):
        site.send("few", label, 0.1)
        if number < len(rated):
            site.send("shared", rated[number])
    wait_for(lambda: len(site.events("done")) > 15)
    workers.pop(chance.randrange(len(workers))).kill()
    workers.append(site.worker(*APP, **settings))
    site.wait_done(*labels, *rated)
    assert [worker.stop() for worker in workers] == [0, 0]
    settled(site, "few", ["per"], 2)
    settled(site, "shared", ["tok", "cool"], 10)


def test_tasks_that_run_when_the_connection_goes_take_their_permits_again(breakable_site, own_node):
    site = breakable_site
    worker = site.worker(*APP)
    held = [f"held-{number}" for number in range(4)]
    for label in held:
        site.send("few_held", label)
    wait_for(lambda: len(site.events("start")) == 2)
    site.admin_close()
    site.app_close()
    own_node.close_connections()
    worker.wait_ready(2)
    wait_for(lambda: site.ready("amqtask.limit.few_held.per") == 0)
    assert len(site.events("start")) == 2
    site.open_gate()
    site.wait_done(*held)
    assert worker.stop() == 0
    settled(site, "few_held", ["per"], 2)


def test_a_worker_that_has_used_up_its_memory_ends_with_75_when_its_tasks_have_ended(site):
    worker = site.worker(*APP, worker_max_memory="250MiB")
    site.send("greedy", "hungry", 250)
    site.wait_event("start", "hungry")
    worker.wait_for_log(r"take \d+ MiB of the \d+ MiB they may have")
    site.open_gate()
    assert worker.wait() == 75
    assert site.labels("done")["hungry"] == 1
