"""Metrics of a real worker: what happens to its tasks, children and connections, while the broker is away too."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from private_broker.processes import free_ports
from proxy import Proxy
from scraping import Page, scrape
from waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker_process import Site

pytestmark = pytest.mark.rabbitmq


def ended(page: Page) -> dict[tuple[str, str], float]:
    """Task and outcome -> how many, where there are any."""
    counts = page["amqtask_tasks_ended_total"].items()
    return {(task, outcome): count for (outcome, _, task), count in counts if count}


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    parts = urlsplit(site.url)
    with Proxy(str(parts.hostname), int(parts.port or 0)) as made:
        yield made


def whole(port: int) -> Page:
    """A page with all that the I/O loop tells; it may be late on a busy machine."""
    return wait_for(lambda: page if "amqtask_broker_connected" in (page := scrape(port)) else None)


def test_what_happens_to_tasks_and_connections_is_counted_and_a_successor_has_the_port(site: Site, proxy: Proxy):
    (port,) = free_ports(1)
    words = ("-P", "prefork", "-c", "1", "-n", "w@here", "-B", "--metrics", f"127.0.0.1:{port}")
    worker = site.worker(*words, url=proxy.url(site.url))
    for task, *arguments in (("note", "a"), ("fail_at_once", "b"), ("again", "c", 1, 0.1), ("nobody", "d")):
        site.send(task, *arguments)
    site.send("note", "later", countdown=0.3)
    site.send("die", "e", "exit", 1)
    expected = {
        ("note", "succeeded"): 2, ("fail_at_once", "failed"): 1, ("again", "retried"): 1, ("again", "succeeded"): 1,
        ("(unknown)", "unknown_task"): 1, ("die", "worker_lost"): 1, ("die", "succeeded"): 1,
    }  # fmt: skip
    wait_for(lambda: ended(scrape(port)) == expected)
    wait_for(lambda: scrape(port).get("amqtask_beat_leading") == {(): 1})
    page = whole(port)
    dead = {task: count for (_, task), count in page["amqtask_dead_letters_total"].items() if count}
    assert dead == {"fail_at_once": 1}
    assert page["amqtask_task_latency_seconds_count"]["work", "note"] == 2
    assert page["amqtask_task_latency_seconds_sum"]["work", "note"] > 0
    assert page["amqtask_task_runtime_seconds_count"]["work", "again"] == 2
    assert page["amqtask_children_ended_total"] == {("retired",): 0, ("killed",): 0, ("died",): 1}
    assert set(page["amqtask_broker_reconnects_total"].values()) == {0}
    proxy.refuse()
    proxy.cut()
    wait_for(lambda: set(whole(port)["amqtask_broker_connected"].values()) == {0})
    proxy.refuse(False)
    wait_for(lambda: set(whole(port)["amqtask_broker_reconnects_total"].values()) == {1})
    worker.wait_ready(times=2)
    worker.send_signal(signal.SIGHUP)
    worker.wait_for_log("w@here stopped")
    assert ended(scrape(port)) == {}
    assert worker.stop() == 0
